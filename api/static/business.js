// The business that photos are uploaded for: found by its name, or created.

import { categories, combobox } from "./combobox.js";
import { answer } from "./requests.js";

// Calls `changed` with {docid, name}, or with null while none is chosen.
export function chooseBusiness(root, changed) {
  const part = (name) => root.querySelector(`[data-${name}]`);
  const find = part("find");
  const create = part("create");
  const chosen = part("chosen");
  const input = find.querySelector("input");
  let listed = [];

  function take(business) {
    find.hidden = create.hidden = true;
    chosen.hidden = false;
    part("chosen-name").textContent = business.name;
    changed(business);
  }

  function search() {
    create.hidden = chosen.hidden = true;
    find.hidden = false;
    changed(null);
    input.focus();
    input.select();
  }

  function begin(name) {
    if (!name) return;
    find.hidden = true;
    create.hidden = false;
    part("new-name").textContent = name;
    list([]);
    create.querySelector("input").focus();
  }

  function list(names) {
    listed = names;
    part("chips").replaceChildren(...names.map(chip));
    wrong("");
  }

  function chip(name) {
    const element = document.getElementById("chip").content.cloneNode(true).firstElementChild;
    element.querySelector("[data-chip-name]").textContent = name;
    const remove = element.querySelector("button");
    remove.setAttribute("aria-label", `Remove ${name}`);
    remove.addEventListener("click", () => {
      list(listed.filter((other) => other !== name));
      create.querySelector("input").focus();
    });
    return element;
  }

  function add(name) {
    const box = create.querySelector("input");
    const known = listed.some((other) => other.toLowerCase() === name.toLowerCase());
    if (name && !known) list([...listed, name]);
    box.value = "";
  }

  function wrong(words) {
    part("wrong").textContent = words;
    part("wrong").hidden = !words;
  }

  async function save() {
    add(create.querySelector("input").value.trim());
    if (!listed.length) return wrong("Name at least one category: photos are scored for it.");
    const name = part("new-name").textContent;
    const docid = idFor(name);
    const entry = { name, categories: listed.map((one, index) => ({ name: one, is_hot: !index })) };
    try {
      await answer(`/v1/businesses/${docid}`, {
        method: "PUT",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(entry),
      });
      take({ docid, name });
    } catch (error) {
      wrong(error.message);
    }
  }

  combobox(input, find.querySelector("[role=listbox]"), {
    suggest: async (typed) => [...(await found(typed)), { label: `Create “${typed}”`, create: typed }],
    choose: (option) => (option.create ? begin(option.create) : take(option)),
    enter: async (typed) => {
      const same = (await found(typed)).find(({ name }) => name.toLowerCase() === typed.toLowerCase());
      if (same) take(same);
      else begin(typed);
    },
  });
  combobox(create.querySelector("input"), create.querySelector("[role=listbox]"), {
    suggest: categories,
    choose: ({ label }) => add(label),
    enter: add,
  });
  create.addEventListener("submit", (event) => {
    event.preventDefault();
    save();
  });
  part("cancel").addEventListener("click", search);
  part("change").addEventListener("click", search);
  if (root.dataset.docid) changed({ docid: root.dataset.docid, name: root.dataset.name });
}

async function found(typed) {
  const { businesses } = await answer(`/v1/businesses?${new URLSearchParams({ q: typed })}`);
  return businesses.map(({ docid, name, categories: own }) => {
    return { docid, name, label: name, detail: own.slice(0, 4).join(" · ") };
  });
}

// Readable, and not given twice: letters and digits of the name, and five more by chance.
function idFor(name) {
  const plain = name.normalize("NFKD").toLowerCase().replace(/[^a-z0-9]+/g, "-");
  const readable = plain.replace(/^-+/, "").slice(0, 40).replace(/-+$/, "") || "business";
  const chance = crypto.getRandomValues(new Uint32Array(1))[0].toString(36).slice(-5);
  return `${readable}-${chance}`;
}
