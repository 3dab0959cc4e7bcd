"""How the classifier's class names are said in a sentence.

ImageNet names a class by its WordNet synonyms, the first of which is often not the everyday word
("hand blower, blow dryer, blow drier, hair dryer, hair drier").
"""

EVERYDAY = {
    "alp": "mountain",
    "analog clock": "clock",
    "ashcan": "trash can",
    "ballpoint": "ballpoint pen",
    "bannister": "staircase railing",
    "barrow": "wheelbarrow",
    "bassinet": "baby cradle",
    "beach wagon": "station wagon",
    "book jacket": "book cover",
    "bow": "archery bow",
    "brass": "memorial plaque",
    "brassiere": "bra",
    "cab": "taxi",
    "caldron": "cooking pot",
    "cellular telephone": "mobile phone",
    "chest": "storage chest",
    "chiffonier": "chest of drawers",
    "confectionery": "candy store",
    "consomme": "clear soup",
    "crane, lifting machine": "lifting crane",
    "crib": "cot",
    "Crock Pot": "slow cooker",
    "dishrag": "dishcloth",
    "ear": "ear of corn",
    "entertainment center": "media cabinet",
    "espresso maker": "espresso machine",
    "file": "filing cabinet",
    "four-poster": "four-poster bed",
    "French loaf": "baguette",
    "Granny Smith": "green apple",
    "groom": "bridegroom",
    "hair slide": "hair clip",
    "hamper": "laundry hamper",
    "hand blower": "hair dryer",
    "hand-held computer": "handheld computer",
    "hard disc": "hard disk",
    "head cabbage": "cabbage",
    "hip": "rose hip",
    "hotdog": "hot dog",
    "jean": "jeans",
    "jinrikisha": "rickshaw",
    "liner": "ocean liner",
    "loudspeaker": "speaker",
    "Loafer": "loafer",
    "loupe": "jeweller's loupe",
    "lumbermill": "sawmill",
    "magnetic compass": "compass",
    "maillot": "swimsuit",
    "medicine chest": "medicine cabinet",
    "mortarboard": "graduation cap",
    "mouse": "computer mouse",
    "nipple": "baby bottle teat",
    "notebook": "notebook computer",
    "pajama": "pyjamas",
    "passenger car": "railway carriage",
    "pick": "guitar pick",
    "pickup": "pickup truck",
    "pitcher": "jug",
    "plane": "carpenter's plane",
    "pop bottle": "soda bottle",
    "pot": "flowerpot",
    "projectile": "missile",
    "puck": "hockey puck",
    "racer": "racing car",
    "racket": "tennis racket",
    "rapeseed": "rapeseed field",
    "recreational vehicle": "camper van",
    "reel": "fishing reel",
    "reflex camera": "SLR camera",
    "rubber eraser": "eraser",
    "rule": "ruler",
    "sax": "saxophone",
    "scale": "weighing scale",
    "screen": "computer screen",
    "slot": "slot machine",
    "stole": "fur stole",
    "studio couch": "sofa bed",
    "sunglass": "sunglasses",
    "swab": "mop",
    "switch": "electric switch",
    "teddy": "teddy bear",
    "thatch": "thatched roof",
    "toilet tissue": "toilet paper",
    "upright": "upright piano",
    "vacuum": "vacuum cleaner",
    "vault": "vaulted ceiling",
    "washer": "washing machine",
    "web site": "web page",
    "worm fence": "wooden fence",
    "wing": "aircraft wing",
}
"""By a class's first name (or whole name, where the first is not its own)."""

WITHOUT_ARTICLE = frozenset(
    {
        "binoculars", "broccoli", "carbonara", "cauliflower", "chain mail", "chocolate sauce",
        "clear soup", "corn", "dough", "eggnog", "espresso", "face powder", "guacamole",
        "hair spray", "hay", "ice cream", "jeans", "lotion", "mashed potato", "meat loaf",
        "parallel bars", "perfume", "pyjamas", "red wine", "sunglasses", "sunscreen",
        "swimming trunks", "toilet paper", "velvet", "wool",
    }
)  # fmt: skip
"""Stuff and plurals."""

PLACES = frozenset(
    {
        "bakery", "barbershop", "barn", "bookshop", "butcher shop", "candy store", "castle",
        "church", "cinema", "dock", "greenhouse", "grocery store", "home theater", "lakeside",
        "library", "monastery", "mosque", "palace", "patio", "pier", "planetarium", "prison",
        "restaurant", "seashore", "shoe shop", "stage", "tobacco shop", "toyshop", "valley",
    }
)  # fmt: skip


def everyday(name: str) -> str:
    """The everyday word for a class: "hair dryer" for "hand blower, blow dryer, ..."."""
    first = name.partition(",")[0].strip()
    return EVERYDAY.get(name) or EVERYDAY.get(first) or first


def with_article(word: str) -> str:
    """The word as it stands in a sentence: "an ambulance", "espresso", "jeans"."""
    if word in WITHOUT_ARTICLE:
        return word
    # The letters of an abbreviation are read out: an SLR camera.
    vowel = word[0].lower() in "aeiou" or word.startswith(("SLR", "hour"))
    says_you = word.startswith(("uni", "ukulele"))
    return f"{'an' if vowel and not says_you else 'a'} {word}"
