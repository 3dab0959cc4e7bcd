"""What a person typed, as a category of the directory.

Misspelt and colloquial queries are the normal case. `characters` reads "resturant", `spelling`
gives the encoder words that it knows, `thesaurus` says that a haircut is had at a hairdresser's,
and `resolver` adds up what they found.
"""

from pipeline.queries.folding import LONGEST_QUERY, fold
from pipeline.queries.resolver import QueryResolver, Resolution

__all__ = ["LONGEST_QUERY", "QueryResolver", "Resolution", "fold"]
