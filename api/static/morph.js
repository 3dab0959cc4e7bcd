// Makes one tree like another with as few changes as there are differences, so that focus, scrolling
// and what a reader has opened stay where they are. Children with a data-key or an id are known by it
// again; what has data-keep is a script's own and stays as it is.

export function morph(old, fresh) {
  if (old.isEqualNode(fresh) || old.dataset?.keep !== undefined) return;
  if (old.nodeType !== Node.ELEMENT_NODE || old.nodeName !== fresh.nodeName) {
    old.replaceWith(fresh);
    return;
  }
  morphAttributes(old, fresh);
  morphChildren(old, fresh);
}

function morphAttributes(old, fresh) {
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
}

function morphChildren(old, fresh) {
  const known = new Map();
  const wanted = new Set([...fresh.children].map(keyOf));
  for (const child of [...old.children]) {
    if (!keyOf(child)) continue;
    if (wanted.has(keyOf(child))) known.set(keyOf(child), child);
    else child.remove();
  }
  let place = old.firstChild;
  const next = () => {
    const here = place;
    place = place.nextSibling;
    return here;
  };
  for (const child of [...fresh.childNodes]) {
    const match = known.get(keyOf(child));
    if (match) {
      while (place && !keyOf(place)) next().remove();
      if (match === place) next();
      else old.insertBefore(match, place);
      morph(match, child);
    } else if (place && !keyOf(place) && !keyOf(child)) {
      morph(next(), child);
    } else {
      old.insertBefore(child, place);
    }
  }
  while (place) next().remove();
}

function keyOf(node) {
  return node.dataset?.key || node.id;
}
