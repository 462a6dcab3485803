// What the page does beyond a page without scripts: a tooltip on each mark, by mouse, finger and arrow keys; filters and
// switches without a reload; and another look where the numbers are on their way.
"use strict";
(() => {
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.setAttribute("role", "status");
  tip.hidden = true;
  document.body.append(tip);
  let here = null;

  // The browser's own tooltip would come on top of ours.
  const textOf = (mark) => {
    const title = mark.querySelector("title");
    if (title) {
      mark.setAttribute("aria-label", title.textContent);
      title.remove();
    }
    return mark.getAttribute("aria-label");
  };
  const show = (mark, x, y) => {
    if (here) here.classList.remove("here");
    here = mark;
    mark.classList.add("here");
    const row = mark.closest(".row, .cells li");
    const label = row && row.querySelector(".label");
    tip.textContent = (label ? label.textContent.trim().replace(/\s+/g, " ") + ": " : "") + textOf(mark);
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.setProperty("left", Math.max(4, Math.min(x + 12, innerWidth - box.width - 4)) + "px");
    tip.style.setProperty("top", (y + 18 + box.height > innerHeight ? y - box.height - 12 : y + 18) + "px");
  };
  const hide = () => {
    if (here) here.classList.remove("here");
    here = null;
    tip.hidden = true;
  };
  const markAt = (event) => event.target instanceof Element && event.target.closest(".mark");
  document.addEventListener("pointermove", (event) => {
    byKeyboard = false;
    const mark = markAt(event);
    if (mark) show(mark, event.clientX, event.clientY);
    else if (event.pointerType === "mouse" && here) hide();
  });
  document.addEventListener("pointerdown", (event) => {
    const mark = markAt(event);
    if (mark) show(mark, event.clientX, event.clientY);
    else hide();
  });
  // Where the keyboard goes the page follows, and the words with it.
  let byKeyboard = false;
  const showBeside = (mark) => {
    const box = mark.getBoundingClientRect();
    show(mark, box.left + box.width / 2, box.top + box.height / 2);
  };
  document.addEventListener("scroll", () => (here && byKeyboard ? showBeside(here) : hide()), { passive: true });
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
    const chart = event.target instanceof Element && event.target.closest(".plot, .cells");
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (!chart || !step || event.target !== chart) return;
    const marks = [...chart.querySelectorAll(".mark")];
    if (!marks.length) return;
    event.preventDefault();
    const next = marks[(marks.indexOf(here) + step + marks.length) % marks.length] || marks[0];
    next.closest("svg").scrollIntoView({ block: "nearest", behavior: "instant" });
    byKeyboard = true;
    showBeside(next);
  });

  // A page from disk has nobody to ask.
  if (!location.protocol.startsWith("http")) return;
  // A filter works when it is chosen, and needs no button.
  document.documentElement.classList.add("scripted");

  let asked = 0;
  const swap = async (url, push) => {
    const turn = ++asked;
    const page = document.getElementById("page");
    page.classList.add("busy");
    try {
      const response = await fetch(url, { headers: { Accept: "text/html" } });
      const fresh = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("page");
      if (turn !== asked) return;
      if (!fresh) throw new Error("no page");
      const open = [...page.querySelectorAll("details.numbers[open]")].map((one) => one.closest("section").id);
      const checked = [...page.querySelectorAll("input[type=checkbox]:checked")].map((one) => one.id);
      const active = document.activeElement;
      const focused = active && page.contains(active) ? [active.closest("section, form"), active.textContent, active.name] : null;
      page.replaceWith(document.adoptNode(fresh));
      for (const id of open) fresh.querySelector(`#${id} details.numbers`)?.setAttribute("open", "");
      for (const id of checked) { const one = document.getElementById(id); if (one) one.checked = true; }
      if (push) history.pushState(null, "", url);
      shown = location.search;
      if (focused && focused[0]) {
        const again = [...fresh.querySelectorAll("a[data-swap], select, button")].find(
          (one) => (focused[2] ? one.name === focused[2] : one.textContent === focused[1]) &&
            one.closest("section, form")?.id === focused[0].id);
        again?.focus({ preventScroll: true });
      }
      tidy();
    } catch {
      if (turn === asked && push) location.assign(url);
    } finally {
      document.getElementById("page").classList.remove("busy");
    }
  };
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element && event.target.closest("a[data-swap]");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    swap(link.href, true);
  });
  document.addEventListener("submit", (event) => {
    event.preventDefault();
    choose(event.target);
  });
  document.addEventListener("change", (event) => {
    if (event.target.form && event.target.form.matches(".filters:not(.days)")) choose(event.target.form);
  });
  const choose = (form) => {
    const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
    const url = new URL(form.action);
    url.search = query;
    swap(url.href, true);
  };
  // Going to a place within the page is one, too.
  let shown = location.search;
  addEventListener("popstate", () => {
    if (location.search !== shown) swap(location.href, false);
  });

  // Where the page is of a moment that will pass, it looks again.
  let timer = 0;
  const tidy = () => {
    clearTimeout(timer);
    const seconds = Number(document.getElementById("page").dataset.poll);
    if (seconds) timer = setTimeout(() => swap(location.href, false).finally(tidy), seconds * 1000);
  };
  tidy();
})();
