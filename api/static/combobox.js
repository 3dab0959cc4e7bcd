// A box with suggestions while typing, by mouse or keys (the combobox pattern of ARIA).

const PAUSE = 120;

// `suggest(typed)` answers with options: {label, detail, ...}. `choose(option)` is called with the
// one that was chosen, `enter(typed)` when Enter is pressed and none was.
export function combobox(input, list, { suggest, choose, enter = () => {} }) {
  let options = [];
  let timer = 0;
  let asked = 0;
  let active = -1;

  function close() {
    clearTimeout(timer);
    asked += 1;
    list.hidden = true;
    activate(-1);
    input.setAttribute("aria-expanded", "false");
  }

  function activate(index) {
    active = index;
    [...list.children].forEach((item, position) => {
      item.setAttribute("aria-selected", String(position === index));
    });
    if (index < 0) {
      input.removeAttribute("aria-activedescendant");
    } else {
      input.setAttribute("aria-activedescendant", list.children[index].id);
      list.children[index].scrollIntoView({ block: "nearest" });
    }
  }

  async function open() {
    const typed = input.value.trim();
    if (!typed) return close();
    const own = (asked += 1);
    try {
      const found = await suggest(typed);
      if (own !== asked) return;
      options = found;
      list.replaceChildren(...options.map((option, index) => item(option, index, typed)));
      list.hidden = options.length === 0;
      input.setAttribute("aria-expanded", String(!list.hidden));
      activate(-1);
    } catch {
      // The box is of use without suggestions.
      if (own === asked) close();
    }
  }

  function item({ label, detail = "" }, index, typed) {
    const element = document.createElement("li");
    element.id = `${list.id}-${index}`;
    element.role = "option";
    element.setAttribute("aria-selected", "false");
    const name = document.createElement("span");
    name.append(...marked(label, typed));
    element.append(name);
    if (detail) {
      const words = document.createElement("small");
      words.textContent = detail;
      element.append(words);
    }
    return element;
  }

  function take(option) {
    close();
    choose(option);
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(open, PAUSE);
  });
  input.addEventListener("keydown", (event) => {
    const count = list.hidden ? 0 : list.children.length;
    if (event.key === "Enter") {
      event.preventDefault();
      if (active >= 0) {
        take(options[active]);
      } else {
        close();
        enter(input.value.trim());
      }
    } else if (event.key === "Escape" && count) {
      event.preventDefault();
      close();
    } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && count) {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      // One place more than options: the box itself.
      activate(((active + 1 + step + count + 1) % (count + 1)) - 1);
    }
  });
  input.addEventListener("blur", close);
  // Before the box loses the focus, which would close the list.
  list.addEventListener("pointerdown", (event) => event.preventDefault());
  list.addEventListener("click", (event) => {
    const index = [...list.children].indexOf(event.target.closest("[role=option]"));
    if (index >= 0) take(options[index]);
  });
  return { close };
}

// Names of categories for what has been typed so far.
export async function categories(typed) {
  const response = await fetch(`/v1/suggest?${new URLSearchParams({ q: typed })}`);
  const { suggestions } = await response.json();
  return suggestions.map((label) => ({ label }));
}

function marked(label, typed) {
  const at = label.toLowerCase().indexOf(typed.toLowerCase());
  if (at < 0) return [label];
  const mark = document.createElement("mark");
  mark.textContent = label.slice(at, at + typed.length);
  return [label.slice(0, at), mark, label.slice(at + typed.length)];
}
