"""How long things take here, learned while they happen."""

SMOOTHING = 0.3
"""Weight of the newest measurement: about the last five count."""


class Rate:
    """A smoothed duration in seconds."""

    def __init__(self, guess: float | None = None) -> None:
        self._guess = guess
        self._value: float | None = None

    def observe(self, seconds: float) -> None:
        """Take a measurement in."""
        self._value = seconds if self._value is None else self._value + SMOOTHING * (seconds - self._value)

    @property
    def seconds(self) -> float | None:
        """What is expected; None while nothing is known and nothing was guessed."""
        return self._guess if self._value is None else self._value


class Rates:
    """The durations that progress, ETA and retry hints rest on."""

    def __init__(self) -> None:
        self.enhance = Rate(guess=3.0)
        """The enhancer, per prompt. The guess is that of 200 tokens at 70 a second."""
        self._stills = Rate()
        self._videos = Rate()

    def job(self, *, still: bool) -> Rate:
        """A whole job, without waiting."""
        return self._stills if still else self._videos

    @property
    def any_job(self) -> float | None:
        """Seconds that a job takes, whichever is known; None while nothing is."""
        return self._stills.seconds if self._videos.seconds is None else self._videos.seconds
