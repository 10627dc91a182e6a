"""Lists from which the practice prompts are put together. None of these is used by the evaluation."""

# Actions of the user's own: base verb, rest. Only verbs with regular endings.
ACTIONS: tuple[tuple[str, str], ...] = (
    ("dance", ""), ("dance", "slowly"), ("dance", "with joy"), ("play", "chess"), ("play", "the piano"),
    ("play", "football"), ("play", "with a ball"), ("run", ""), ("run", "fast"), ("run", "through the rain"),
    ("walk", ""), ("walk", "along the beach"), ("walk", "slowly toward the camera"), ("jump", "over a fence"),
    ("swim", ""), ("swim", "in circles"), ("fly", ""), ("fly", "through the air"), ("fly", "over a city"),
    ("sleep", ""), ("sleep", "on a sofa"), ("eat", "an apple"), ("eat", "noodles"), ("cook", "dinner"),
    ("read", "a book"), ("read", "a newspaper"), ("write", "a letter"), ("paint", "a picture"),
    ("drive", "a car"), ("ride", "a bicycle"), ("ride", "a horse"), ("climb", "a tree"), ("climb",
    "a ladder"),
    ("sing", ""), ("sing", "a song"), ("laugh", ""), ("smile", ""), ("wave", "at the camera"), ("wave", ""),
    ("open", "a door"), ("close", "a window"), ("drink", "coffee"), ("drink", "a cup of tea"), ("melt", ""),
    ("explode", ""), ("burn", ""), ("burn", "brightly"), ("float", "on the water"), ("sail",
    "into the harbour"),
    ("surf", "a huge wave"), ("ski", "down a mountain"), ("skate", "on a frozen lake"), ("chase", "a mouse"),
    ("chase", "its own tail"), ("look", "out of a window"), ("look", "at the stars"), ("stare",
    "at the moon"),
    ("wait", "for a bus"), ("work", "at a desk"), ("type", "on a keyboard"), ("juggle", "three balls"),
    ("build", "a sandcastle"), ("bake", "bread"), ("pour", "milk into a glass"), ("blow", "out a candle"),
    ("bloom", ""), ("bloom", "in fast motion"), ("collapse", ""), ("wander", "around"), ("explore", "a cave"),
    ("fight", "a dragon"), ("hug", "a child"), ("kiss", "a frog"), ("push", "a cart"), ("pull", "a rope"),
    ("carry", "a basket"), ("hold", "an umbrella"), ("hold", "a candle"), ("wear", "a hat"), ("roll",
    "down a hill"),
    ("shake", ""), ("stretch", ""), ("yawn", ""), ("crawl", "along a branch"), ("dig", "a hole"),
    ("gallop", "across a field"), ("march", "in a line"), ("meditate", ""), ("knit", "a scarf"), ("peel",
    "an orange"),
    ("repair", "a clock"), ("fix", "a robot"), ("plant", "a seed"), ("race", "along a track"), ("flicker",
    ""),
    ("glow", "in the dark"), ("drip", ""), ("turn", "its head"), ("sit", "on a chair"), ("stand",
    "on one leg"),
)  # fmt: skip

# Places and times of the user's own, and whether they are dark.
PLACES: tuple[tuple[str, bool], ...] = (
    ("in a busy kitchen", False), ("on a rooftop", False), ("in a quiet library", False), ("in Paris", False),
    ("on the streets of Tokyo", False), ("in New York", False), ("in a forest", False), ("in the rain",
    False),
    ("on a mountain", False), ("in a crowded market", False), ("on a wooden table", False), ("by a river",
    False),
    ("in a bathtub", False), ("on the beach", False), ("under a bridge", False), ("in a garden", False),
    ("in an old castle", False), ("on Mars", False), ("in a classroom", False), ("at the airport", False),
    ("in a swimming pool", False), ("in front of a mirror", False), ("inside a glass jar", False),
    ("in a subway station", False), ("on a train", False), ("at dawn", False), ("in the morning", False),
    ("in heavy rain", False), ("in a jungle", False), ("on stage", False), ("in a small village", False),
    ("in the fog", False), ("near a waterfall", False), ("at a birthday party", False),
    ("in a wheat field", False),
    ("behind a window", False), ("in a hospital", False), ("in outer space", True), ("in a dark cave", True),
    ("on a rooftop at night", True), ("in the city at night", True), ("in a dark room", True),
    ("at midnight", True), ("by candlelight", True), ("in a forest at night", True), ("in the dark", True),
    ("in the streets of London at night", True), ("under neon lights at night", True),
)  # fmt: skip

ADVERBS = (
    "slowly",
    "quickly",
    "gently",
    "smoothly",
    "happily",
    "wildly",
    "steadily",
    "suddenly",
    "gracefully",
)

# A world action said at more length, so that actions are copied rather than picked from a known list.
AUXILIARIES = ("continues", "starts", "begins", "goes on", "enjoys", "finishes", "loves")

# Words that stand for a background of the world behind any preposition and adjective.
BACKGROUND_NOUNS: dict[str, tuple[str, ...]] = {
    "clear_sky": ("clear sky", "blue sky", "daytime sky", "bright sky"),
    "sunset": ("sunset", "evening sun", "setting sun"),
    "night": ("night sky", "starry sky", "starry night"),
    "ocean": ("ocean", "sea", "ocean waves", "sea waves"),
    "meadow": ("meadow", "grass", "grassy field", "grassy hills"),
    "desert": ("desert", "sand dunes", "desert sand", "dunes"),
    "snow": ("snow", "snowy hills", "snowy field", "snowy landscape"),
    "studio": ("studio", "studio backdrop", "photo studio", "studio wall"),
}
BACKGROUND_PREPOSITIONS = (
    "in", "over", "above", "near", "beside", "across", "out on", "before", "high over", "deep in", "against",
    "far away in", "right above", "somewhere in", "close to", "facing", "beyond",
)  # fmt: skip
CAMERA_VERBS: dict[str, tuple[str, ...]] = {
    "static": ("stays still", "keeps still", "is fixed", "rests"),
    "pan_left": ("pans left", "turns left", "pans to the left"),
    "pan_right": ("pans right", "turns right", "pans to the right"),
    "zoom_in": ("zooms in", "zooms in slowly", "moves closer"),
    "zoom_out": ("zooms out", "zooms out slowly", "moves away"),
}

PREPOSITIONS = (
    "in",
    "on",
    "over",
    "under",
    "near",
    "behind",
    "inside",
    "next to",
    "beside",
    "above",
    "through",
)

CAMERAS: tuple[str, ...] = (
    "a drone shot", "a close-up", "an extreme close-up", "a wide shot", "a low-angle shot",
    "a high-angle shot",
    "a tracking shot", "a handheld shot", "an aerial shot", "a dolly shot", "a long shot", "a medium shot",
    "a bird's-eye view", "a top-down view", "a macro shot", "a first-person view", "a point-of-view shot",
    "a slow crane shot", "a panoramic shot", "a time-lapse", "a side view", "a steadicam shot",
)  # fmt: skip

STYLES: tuple[str, ...] = (
    "cinematic", "photorealistic", "4k", "8k", "highly detailed", "watercolour", "oil painting",
    "anime style",
    "pixel art", "grainy film", "slow motion", "claymation", "stop motion", "3D render", "vintage film",
    "35mm film", "soft focus", "shallow depth of field", "HDR", "ultra realistic", "cartoon style",
    "low poly",
    "hand-drawn", "retro", "documentary style", "dreamy", "volumetric fog", "lens flare", "epic",
    "minimalist",
)  # fmt: skip

# {x} is a noun phrase with what it does; {c} is a whole clause.
WRAPPERS: tuple[str, ...] = (
    "{x}", "{x}", "{x}", "{x}", "{x}", "{x}", "{x}", "{x}", "make a video of {x}", "a video of {x}",
    "video of {x}",
    "create a video of {x}", "generate {x}", "generate a video of {x}", "please make {x}", "show me {x}",
    "please show {x}", "I want a video of {x}", "I want to see {x}", "can you make a video of {x}?",
    "could you show me {x}?", "can you draw {x}", "a clip of {x}", "a short clip of {x}", "give me {x}",
    "make me a short film about {x}", "animate {x}", "a scene with {x}", "prompt: {x}", "imagine {x}",
    "I'd like a clip of {x}, please", "what does {x} look like?", "how about {x}?",
    "we need a video showing {x}",
    "a movie of {x}", "hey, make {x}", "film {x}", "let me see {x}", "there is {x}", "picture {x}",
    "I need {x}", "we would like {x}", "our team wants {x}", "the client asks for {x}", "well, {x}",
    "so, {x}",
    "ok, {x}", "okay then {x}", "here is my idea: {x}", "concept: {x}", "scene: {x}", "request: {x}",
    "just {x}",
    "maybe {x}", "shoot {x}", "record {x}", "craft a reel of {x}", "output {x}", "deliver a recording of {x}",
    "my boss wants {x}", "she asked for {x}", "my friend would love {x}", "I was thinking of {x}",
    "I am looking for {x}", "I'm dreaming of {x}", "{x} clip", "{x} video please", "{x}, please",
    "{x} please",
    "video - {x}", "basically {x}", "a reel showing {x}", "do {x}", "today {x}", "first: {x}",
    "a picture of {x}",
)  # fmt: skip

# Requests put together from parts, for wrappers that nobody wrote down.
REQUEST_STARTS = ("please", "can you", "could you", "hi,", "hello,", "", "", "I'd love you to", "would you", "quick:")
REQUEST_VERBS = ("make", "create", "generate", "show", "draw", "film", "design", "give me", "send me", "compose")
REQUEST_MEDIA = (
    "a video of", "a clip of", "a movie with", "an animation of", "a short scene of", "something with",
    "a film of",
    "a shot of", "the sight of", "pictures of", "a five second clip of", "a loop of", "a cartoon about", "",
)  # fmt: skip

CLAUSE_WRAPPERS: tuple[str, ...] = (
    "{c}", "{c}", "{c}", "{c}", "{c}", "{c}", "a video where {c}", "make a video in which {c}",
    "show how {c}",
    "a scene where {c}", "I want to see how {c}", "generate a clip where {c}", "imagine that {c}",
    "can you show how {c}?", "a short film in which {c}", "the moment when {c}", "a shot where {c}",
    "shoot a reel in which {c}",
    "here is the plan: {c}", "suppose {c}", "concept: {c}", "record footage where {c}", "it is about how {c}",
)  # fmt: skip

OTHER_SYSTEM_PROMPTS: tuple[str, ...] = (
    "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
    "You are a helpful assistant.",
    "Rewrite the prompt for a video model.",
    "You are a prompt engineer. Expand the user's idea into a detailed description of one shot.",
    "You improve prompts for a text-to-video generator. Answer with one paragraph and nothing else.",
    "Describe the video that the user wants in 80 words. Add lighting, camera and setting.",
    "You are an expert film director. Turn each short request into a vivid scene description. Do not "
    "change the subject. Do not add text, logos or people who were not asked for.",
    "Expand the following prompt. Keep it under 110 words. Present tense. No lists.",
    "You are an assistant that writes long prompts in English whatever the language of the input is. "
    "Describe the main subject first, then its movement, then the background, then light and camera.",
    "You are a creative writer.",
    "Return only the improved prompt.",
)

# Words that an ALL CAPS or Title Case prompt gets back in lower case; the world's words join them.
_COMMON = """
a an the in on at of and with to from by over under near behind inside next beside above through into
is are that where which while then it its up down around one two three four five some my our very
video shows scene shot slowly fast camera
"""
COMMON_WORDS = frozenset(_COMMON.split())
