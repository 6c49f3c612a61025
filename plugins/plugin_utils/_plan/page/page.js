// SPDX-FileCopyrightText: The inferops.ascend authors
// SPDX-License-Identifier: GPL-3.0-or-later
"use strict";
// The page reads without this. It adds search, filters and keys, and asks nothing of the network.
(() => {
  const byId = (id) => document.getElementById(id);
  const field = byId("q");
  const show = byId("show");
  const list = byId("hosts");
  const models = new Map();
  let pressed = null;

  // A model in the legend becomes a button that filters by it.
  for (const entry of byId("models").children) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...entry.firstElementChild.childNodes);
    button.setAttribute("aria-pressed", "false");
    button.dataset.model = entry.className;
    models.set(entry.className, button.querySelector("b").textContent.toLowerCase());
    entry.replaceChildren(button);
    button.addEventListener("click", () => {
      press(pressed === button ? null : button);
      apply();
    });
  }
  const press = (button) => {
    if (pressed) pressed.setAttribute("aria-pressed", "false");
    if (button) button.setAttribute("aria-pressed", "true");
    pressed = button;
  };

  const hosts = Array.from(list.children, (item) => {
    const [head, cards] = item.children;
    const blocks = Array.from(cards.children);
    const services = blocks
      .filter((block) => block.querySelector("b"))
      .map((block) => {
        const name = block.querySelector("b").textContent.toLowerCase();
        const model = block.classList[0];
        return { block, name, model, text: `${name} ${models.get(model) ?? ""}` };
      });
    return { item, blocks, services, text: head.textContent.toLowerCase() };
  });

  const filters = {
    wrong: (host) => host.item.matches(".wrong") || host.item.querySelector(".wrong"),
    changed: (host) => host.item.classList.contains("changed"),
    free: (host) => host.item.querySelector(".free"),
    out: (host) => host.item.querySelector(".out"),
    off: (host) => host.item.querySelector(".off"),
    hand: (host) => host.item.textContent.includes("by hand"),
    estimated: (host) => host.item.textContent.includes("\u25cb estimated"),
  };

  // What a host shows of the search: null if nothing, else the blocks to point out.
  const matches = (host, words, model) => {
    const rest = words.filter((word) => !host.text.includes(word));
    if (!rest.length && !model) return [];
    const found = host.services.filter(
      (service) =>
        (!model || service.model === model) && rest.every((word) => service.text.includes(word)),
    );
    return found.length ? found.map((service) => service.block) : null;
  };

  let current = null;
  const apply = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const model = pressed ? pressed.dataset.model : "";
    const filter = filters[show.value];
    let shown = 0;
    let hits = 0;
    for (const host of hosts) {
      const found = !filter || filter(host) ? matches(host, words, model) : null;
      host.item.hidden = !found;
      for (const { block } of host.services) block.classList.toggle("hit", !!found && found.includes(block));
      if (!found) continue;
      shown += 1;
      hits += found.length;
    }
    const searching = words.length || model || filter;
    const number = (value) => value.toLocaleString("en");
    byId("found").textContent = searching
      ? `${number(shown)} of ${number(hosts.length)} hosts` + (hits ? `, ${number(hits)} marked` : "")
      : "";
    list.classList.toggle("hits", hits > 0);
    byId("none").hidden = shown > 0 || !hosts.length;
    // A card that has the focus keeps it; else the Tab key reaches the first that is shown.
    rove(document.activeElement === current ? current : null);
  };

  // One stop for the Tab key among all cards; the arrow keys move it.
  const rove = (block) => {
    if (current) current.tabIndex = -1;
    current = block ?? hosts.find((host) => !host.item.hidden)?.blocks[0] ?? null;
    if (current) current.tabIndex = 0;
  };

  const walk = (key) => {
    const visible = hosts.filter((host) => !host.item.hidden && host.blocks.length);
    const row = visible.findIndex((host) => host.blocks.includes(current));
    if (row < 0) return;
    const column = visible[row].blocks.indexOf(current);
    const [toRow, toColumn] = {
      ArrowUp: [row - 1, column],
      ArrowDown: [row + 1, column],
      ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1],
      Home: [0, 0],
      End: [visible.length - 1, 0],
    }[key];
    const blocks = visible[Math.min(Math.max(toRow, 0), visible.length - 1)].blocks;
    rove(blocks[Math.min(Math.max(toColumn, 0), blocks.length - 1)]);
    current.focus({ preventScroll: true });
    current.scrollIntoView({ block: "nearest" });
  };

  const clear = () => {
    field.value = "";
    show.value = "";
    press(null);
    apply();
  };

  const findService = (block) => {
    const name = block.querySelector("b");
    if (!name) return;
    field.value = name.textContent;
    apply();
    rove(block);
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target === field || event.target === show;
    if (event.key === "/" && !typing) {
      event.preventDefault();
      field.focus();
      field.select();
    } else if (event.key === "Escape") {
      clear();
    } else if (event.target === current) {
      if (/^(Arrow.*|Home|End)$/.test(event.key)) {
        event.preventDefault();
        walk(event.key);
      } else if (event.key === "Enter") {
        findService(current);
      }
    }
  });
  // The overview has no room for words: what is pointed at or focused is told in the bar.
  const blockOf = (event) => event.target.closest("#hosts ul > li");
  const tell = (block) => {
    const wanted = block && byId("overview").checked;
    byId("at").hidden = !wanted;
    byId("keys").hidden = wanted;
    if (!wanted) return;
    const cards = Array.from(block.querySelectorAll("i"), (cell) => cell.textContent);
    const words = Array.from(block.querySelectorAll("p > *"), (part) => part.textContent);
    const host = block.parentElement.parentElement.querySelector("h3").textContent;
    const range = cards.length > 1 ? `cards ${cards[0]}-${cards.at(-1)}` : `card ${cards[0]}`;
    byId("at").textContent = [host, ...(cards.length ? [range] : []), ...words].join(" \u00b7 ");
  };
  list.addEventListener("focusin", (event) => {
    const block = blockOf(event);
    if (block && block !== current) rove(block);
    tell(block);
  });
  list.addEventListener("focusout", () => tell(null));
  list.addEventListener("mouseover", (event) => tell(blockOf(event)));
  list.addEventListener("mouseleave", () => tell(null));
  // A link among the changes may lead to a host that a filter hides.
  addEventListener("hashchange", () => {
    const target = document.querySelector("#hosts > li:target");
    if (!target || !target.hidden) return;
    clear();
    target.scrollIntoView();
  });
  // Text that is being selected is not a click.
  list.addEventListener("click", (event) => {
    const name = event.target.closest("#hosts b");
    if (name && getSelection().isCollapsed) findService(name.closest("li"));
  });
  field.addEventListener("input", apply);
  show.addEventListener("change", apply);

  for (const host of hosts) for (const block of host.blocks) block.tabIndex = -1;
  for (const element of document.querySelectorAll(".tools, #keys")) element.hidden = false;
  apply();
})();
