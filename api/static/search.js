// The search box of the result page: categories are suggested while one types.

import { categories, combobox } from "./combobox.js";

export function watchSearch(form, show) {
  const input = form.elements.query;
  const search = (query) => show(query.trim());
  const box = combobox(input, form.querySelector("[role=listbox]"), {
    suggest: categories,
    choose: ({ label }) => search(label),
    enter: search,
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    box.close();
    search(input.value);
  });
}
