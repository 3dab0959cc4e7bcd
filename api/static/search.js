// The search box: suggestions while typing, by mouse or keys (the combobox pattern of ARIA).

const PAUSE = 120;

export function watchSearch(form, show) {
  const input = form.elements.query;
  const list = form.querySelector("[role=listbox]");
  let timer = 0;
  let asked = 0;
  let chosen = -1;

  function close() {
    clearTimeout(timer);
    asked += 1;
    list.hidden = true;
    choose(-1);
    input.setAttribute("aria-expanded", "false");
  }

  function choose(index) {
    chosen = index;
    [...list.children].forEach((option, position) => {
      option.setAttribute("aria-selected", String(position === index));
    });
    if (index < 0) input.removeAttribute("aria-activedescendant");
    else input.setAttribute("aria-activedescendant", list.children[index].id);
  }

  function search(query) {
    close();
    show(query.trim());
  }

  async function suggest() {
    const typed = input.value.trim();
    if (!typed) return close();
    const own = (asked += 1);
    try {
      const response = await fetch(`/v1/suggest?${new URLSearchParams({ q: typed })}`);
      const { suggestions } = await response.json();
      if (own !== asked) return;
      list.replaceChildren(...suggestions.map((name, index) => option(name, index, typed)));
      list.hidden = suggestions.length === 0;
      input.setAttribute("aria-expanded", String(!list.hidden));
      choose(-1);
    } catch {
      // Without suggestions the box still searches.
      if (own === asked) close();
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    search(chosen >= 0 ? list.children[chosen].dataset.name : input.value);
  });
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(suggest, PAUSE);
  });
  input.addEventListener("keydown", (event) => {
    const count = list.hidden ? 0 : list.children.length;
    if (event.key === "Escape" && count) {
      event.preventDefault();
      close();
    } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && count) {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      // One place more than options: the box itself.
      choose(((chosen + 1 + step + count + 1) % (count + 1)) - 1);
    }
  });
  input.addEventListener("blur", () => close());
  // Before the box loses the focus, which would close the list.
  list.addEventListener("pointerdown", (event) => event.preventDefault());
  list.addEventListener("click", (event) => {
    const name = event.target.closest("[role=option]")?.dataset.name;
    if (name) search(name);
  });
}

function option(name, index, typed) {
  const item = document.createElement("li");
  item.id = `suggestion-${index}`;
  item.role = "option";
  item.dataset.name = name;
  const at = name.toLowerCase().indexOf(typed.toLowerCase());
  if (at < 0) {
    item.textContent = name;
  } else {
    const mark = document.createElement("mark");
    mark.textContent = name.slice(at, at + typed.length);
    item.append(name.slice(0, at), mark, name.slice(at + typed.length));
  }
  return item;
}
