// The page works without scripts; these make it answer in place.

import { watchCards } from "./cards.js";
import { watchComparisons } from "./compare.js";
import { closeDialogs } from "./dialogs.js";
import { watchFeedback } from "./feedback.js";
import { watchResults } from "./results.js";
import { watchSearch } from "./search.js";

const results = document.getElementById("results");
const show = watchResults(results, watchFeedback(results));

watchSearch(document.getElementById("search"), show);
watchCards(results, document.getElementById("why"));
watchComparisons(results, document.getElementById("compare"));
closeDialogs();
