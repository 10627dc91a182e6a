"""Phrases of the enhanced paragraphs, keyed by the demo world's own words.

Two rules keep every paragraph true to its prompt. No phrase here names one of the ten colours of
things, so that a background never fights the colour of the subject. And no phrase of one background,
motion or camera move fits another, so that a detail never contradicts what was asked.
`{it}` stands for the subject, as in "the ball"; `{s}` is the verb ending, "" for a plural subject.
"""

SETTINGS: dict[str, tuple[str, ...]] = {
    "clear_sky": (
        "a wide clear sky", "a bright and open clear sky", "a clear sky with a soft gradient",
        "a calm, cloudless clear sky", "a clear daytime sky above a low horizon",
    ),
    "sunset": (
        "a glowing sunset sky", "a warm sunset with the sun low on the horizon",
        "a sunset sky that fades into dusk", "a soft evening sunset", "a golden sunset above the land",
    ),
    "night": (
        "a dark night sky with stars", "a deep night sky full of small stars",
        "a starry night sky above a dark horizon", "a calm night sky with twinkling stars",
        "a quiet night with many stars",
    ),
    "ocean": (
        "a calm ocean with gentle waves", "a wide ocean that reaches the horizon",
        "the open ocean under a light sky", "an ocean with small rolling waves",
        "a peaceful ocean and a clean horizon line",
    ),
    "meadow": (
        "a soft grassy meadow", "a wide meadow with fresh grass", "an open meadow under a light sky",
        "a peaceful meadow with rolling hills", "a sunny meadow that reaches the horizon",
    ),
    "desert": (
        "a dry sandy desert", "a wide desert with smooth dunes", "a quiet desert under a hot sky",
        "an empty desert of golden sand", "a desert with low dunes on the horizon",
    ),
    "snow": (
        "a quiet field of snow", "a snowy winter landscape", "a smooth blanket of fresh snow",
        "a cold land of soft snow", "a wide snowy plain under a pale sky",
    ),
    "studio": (
        "a plain studio backdrop", "a clean and simple studio", "a neutral studio with a smooth floor",
        "a quiet photo studio with an empty backdrop", "a minimal studio setting",
    ),
}  # fmt: skip

LIGHTING: dict[str, tuple[str, ...]] = {
    "clear_sky": (
        "Bright, even daylight falls on {it} and keeps every edge crisp.",
        "Clear sunlight from above gives {it} gentle shading.",
        "The light is fresh and bright, with a soft highlight on {it}.",
        "Natural daylight fills the scene with clean, open light.",
    ),
    "sunset": (
        "Warm, golden light from the low sun wraps around {it}.",
        "Soft evening light gives {it} a gentle glow and long shadows.",
        "The lighting is warm and golden, with a calm glow on the horizon.",
        "Golden hour light paints soft highlights on {it}.",
    ),
    "night": (
        "Pale starlight outlines {it} against the dark.",
        "Dim light and deep shadows give the scene a quiet mood.",
        "Cool, dim light rests on {it} while the stars twinkle.",
        "The lighting is low and cool, with a gentle glow around {it}.",
    ),
    "ocean": (
        "Clear daylight glitters on the water and falls softly on {it}.",
        "Bright light from the open sky is reflected by the waves.",
        "The lighting is fresh and clean, with sparkles on the water.",
        "Soft daylight shines on {it} and on the gentle waves.",
    ),
    "meadow": (
        "Gentle sunlight falls across the grass and on {it}.",
        "Soft morning light gives {it} and the grass a fresh look.",
        "The lighting is mild and sunny, with soft shadows on the ground.",
        "Warm daylight makes the grass and {it} look fresh and clear.",
    ),
    "desert": (
        "Strong, dry sunlight gives {it} a crisp shadow on the sand.",
        "Hot daylight shines on the sand and on {it}.",
        "The lighting is bright and warm, with clear shadows on the dunes.",
        "Warm sunlight from high above shapes {it} and the dunes.",
    ),
    "snow": (
        "Cool, pale winter light is reflected by the snow onto {it}.",
        "Soft winter daylight makes the snow sparkle around {it}.",
        "The lighting is cold and bright, with soft shadows on the snow.",
        "Clear winter light gives {it} a clean outline.",
    ),
    "studio": (
        "Soft studio lamps light {it} evenly from both sides.",
        "Even studio lighting gives {it} smooth shading and a soft shadow.",
        "The lighting is soft and controlled, with one gentle highlight on {it}.",
        "A large soft lamp lights {it} from the front.",
    ),
    # For places that the world does not know: true by day and by night, indoors and outdoors.
    "": (
        "Soft, natural lighting shapes {it} and gives the whole scene depth.",
        "Gentle cinematic lighting with soft shadows brings out every detail of {it}.",
        "The lighting is soft and balanced, with delicate highlights on {it}.",
        "Cinematic lighting with a subtle glow separates {it} from the background.",
        "Carefully placed light and soft shadows give {it} shape and depth.",
    ),
    "dark": (
        "Low, cool light and deep shadows give the night scene a quiet mood.",
        "Dim, soft lighting outlines {it} against the darkness.",
        "The lighting is low and cinematic, with a gentle glow on {it}.",
    ),
}

# Where the place is the user's own: nothing here says what the place is.
OPEN_SETTINGS: tuple[str, ...] = (
    "The setting is rich in fine detail, with clear depth between foreground and background.",
    "The surroundings look real and detailed, and they fall gently out of focus.",
    "The background is detailed but calm, so that {it} remain{s} the centre of attention.",
    "Around {it}, the setting is full of small natural details.",
    "The whole setting is wide, deep and carefully composed.",
)

SETTING_FRAMES: tuple[str, ...] = (
    "The background is {place}.", "Behind {it} there is {place}.", "The scene is set against {place}.",
    "The setting is {place}.", "In the background there is {place}.",
    "Everything takes place in front of {place}.",
)  # fmt: skip

MOTION_DETAILS: dict[str, tuple[str, ...]] = {
    "left_to_right": (
        "The motion goes steadily from left to right across the frame.",
        "{It} glide{s} smoothly from the left side to the right side.",
        "{It} travel{s} to the right at an even speed.",
    ),
    "right_to_left": (
        "The motion goes steadily from right to left across the frame.",
        "{It} glide{s} smoothly from the right side to the left side.",
        "{It} travel{s} to the left at an even speed.",
    ),
    "rises": (
        "The motion goes slowly upward.", "{It} climb{s} smoothly toward the top of the frame.",
        "{It} float{s} upward at an even speed.",
    ),
    "falls": (
        "The motion goes steadily downward.", "{It} drop{s} smoothly toward the bottom of the frame.",
        "{It} sink{s} downward at an even speed.",
    ),
    "bounces": (
        "Again and again {it} hit{s} the ground and spring{s} back up.",
        "The motion goes up and down in an even, lively rhythm.",
        "{It} spring{s} up, fall{s} back down and spring{s} up again.",
    ),
    "spins": (
        "The rotation is smooth and even.", "{It} turn{s} around and around in place.",
        "{It} keep{s} rotating around the centre at a steady pace.",
    ),
    "grows": (
        "{It} become{s} larger and larger.",
        "The size increases smoothly until {it} fill{s} more of the frame.",
        "{It} steadily get{s} bigger.",
    ),
    "shrinks": (
        "{It} become{s} smaller and smaller.", "The size decreases smoothly until {it} look{s} tiny.",
        "{It} steadily get{s} smaller.",
    ),
    "still": (
        "{It} stay{s} in one place without any movement.", "{It} rest{s} quietly in the same place.",
        "Nothing about {it} moves, and the moment feels calm.",
    ),
    "circles": (
        "{It} follow{s} a round path through the frame.", "The motion is one smooth circle after another.",
        "The path of {it} is an even, round loop.",
    ),
    # For the user's own actions.
    "": (
        "The motion is smooth and natural from the first frame to the last.",
        "Every movement looks natural and is easy to follow.",
        "The action unfolds smoothly, with believable weight and timing.",
        "The movement is fluid, with a clear and steady rhythm.",
    ),
}  # fmt: skip

CAMERA_SENTENCES: dict[str, tuple[str, ...]] = {
    "static": (
        "The camera stays still.", "The camera is static and holds the whole view.",
        "A static camera keeps {it} in view.", "The shot is held by a fixed, static camera.",
        "The camera does not move.",
    ),
    "pan_left": (
        "The camera pans left.", "The camera slowly pans to the left.",
        "A smooth pan to the left follows the scene.", "The view pans gently to the left.",
    ),
    "pan_right": (
        "The camera pans right.", "The camera slowly pans to the right.",
        "A smooth pan to the right follows the scene.", "The view pans gently to the right.",
    ),
    "zoom_in": (
        "The camera zooms in.", "The camera slowly zooms in on {it}.",
        "A slow zoom in brings {it} closer.", "The camera zooms in smoothly and moves closer.",
    ),
    "zoom_out": (
        "The camera zooms out.", "The camera slowly zooms out from {it}.",
        "A slow zoom out shows more of the scene.", "The camera zooms out smoothly and moves away.",
    ),
}  # fmt: skip

# For camera words of the user's own, such as "drone shot".
CAMERA_FRAMES: tuple[str, ...] = (
    "The camera work is {camera}.",
    "It is filmed as {camera}.",
    "The view is {camera}.",
)

COLOUR_SENTENCES: tuple[str, ...] = (
    "The colour of {it} is a clear {colour}.", "{It} {is} {colour}, with soft shading.",
    "{It} {is} {colour} all over and stand{s} out clearly.",
    "The {colour} surface of {it} looks smooth and clean.",
)  # fmt: skip

# For subjects whose colours the user left open, or named in words of their own.
OPEN_COLOURS: tuple[str, ...] = (
    "Rich, natural colours make {it} stand out.",
    "The colours are vivid but balanced, with a soft contrast.",
    "Deep, harmonious colours give the picture a cinematic look.",
    "The colours are natural and rich, with fine texture on {it}.",
)

LOOKS: tuple[str, ...] = (
    "The composition is simple and balanced, with {it} in clear focus.",
    "{It} {is} drawn with a clean outline and gentle shading.",
    "A soft shadow below {it} adds depth.",
    "The mood is calm and cinematic.",
    "The picture is sharp, clean and easy to read.",
    "The whole video feels smooth, calm and polished.",
    "Fine details and soft edges give the image a cinematic finish.",
    "The frame is uncluttered, and {it} stay{s} the centre of attention.",
)
