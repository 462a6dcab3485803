// What is wrong with the page for readers who use a screen reader, a keyboard, or weak eyes: a list of sentences.
(() => {
  const findings = [];
  const say = (element, text) => findings.push(`${text}: ${element.outerHTML.slice(0, 160)}`);
  const visible = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true });

  if (!document.documentElement.lang) findings.push("the page has no language");
  if (!document.title) findings.push("the page has no title");
  if (document.querySelectorAll("main").length !== 1) findings.push("the page has not one main part");
  if (document.querySelectorAll("h1").length !== 1) findings.push("the page has not one main heading");

  const ids = new Set();
  for (const one of document.querySelectorAll("[id]")) {
    if (ids.has(one.id)) say(one, "the id is there twice");
    ids.add(one.id);
  }
  let level = 0;
  for (const one of document.querySelectorAll("h1, h2, h3, h4")) {
    const own = Number(one.tagName[1]);
    if (own > level + 1) say(one, "a heading leaves out a level");
    level = own;
  }
  for (const one of document.querySelectorAll("a")) {
    const target = one.getAttribute("href") || "";
    if (!one.textContent.trim()) say(one, "a link has no text");
    if (target.startsWith("#") && !document.getElementById(target.slice(1))) say(one, "a link leads nowhere");
  }
  for (const one of document.querySelectorAll("select, input:not([type=hidden]), button")) {
    if (!one.labels?.length && !one.textContent.trim() && !one.ariaLabel) say(one, "a control has no label");
  }
  for (const one of document.querySelectorAll("[role=img]")) {
    if (!one.ariaLabel && !one.querySelector(":scope > title")?.textContent) say(one, "a picture has no words");
  }
  for (const one of document.querySelectorAll("[tabindex], [role=region], [role=group], nav, form")) {
    if (!one.ariaLabel && one.tagName !== "G") say(one, "what the keyboard reaches has no label");
  }
  for (const one of document.querySelectorAll("th")) {
    if (!one.textContent.trim() || !one.scope) say(one, "a column has no heading");
  }
  for (const one of document.querySelectorAll("ul, ol")) {
    for (const child of one.children) if (child.tagName !== "LI") say(child, "a list holds what is no item");
  }

  // Contrast, as WCAG 2 computes it.
  const channels = (color) => (color.match(/[\d.]+/g) || []).map(Number);
  const luminance = (color) => {
    const [r, g, b] = channels(color).map((value) => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (light + 0.05) / (dark + 0.05);
  };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = channels(getComputedStyle(one).backgroundColor);
      if (color.length === 3 || color[3] > 0) return getComputedStyle(one).backgroundColor;
    }
    return "rgb(255, 255, 255)";
  };
  const hasText = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  let texts = 0;
  for (const one of document.body.querySelectorAll("*")) {
    if (one.closest("svg") || !hasText(one) || !visible(one) || one.closest(".vh, script, noscript, option")) continue;
    texts++;
    const ratio = contrast(getComputedStyle(one).color, behind(one));
    if (ratio < 4.5) say(one, `text has a contrast of ${ratio.toFixed(2)}`);
  }
  for (const one of document.querySelectorAll("svg text")) {
    if (!visible(one)) continue;
    texts++;
    const under = one.classList.contains("on") ? getComputedStyle(one.parentElement.querySelector("rect")).fill : behind(one.closest("div, li"));
    const ratio = contrast(getComputedStyle(one).fill, under);
    if (ratio < 4.5) say(one, `text in a chart has a contrast of ${ratio.toFixed(2)}`);
  }
  if (texts < 5) findings.push("there was no text to check");
  // What stands for a number has to be seen, too.
  for (const one of document.querySelectorAll(".mark rect, .mark .dot, .mark .symbol path")) {
    if (!visible(one)) continue;
    const ratio = contrast(getComputedStyle(one).fill, behind(one.closest("div, li")));
    if (ratio < 3) say(one, `a mark has a contrast of ${ratio.toFixed(2)}`);
  }
  for (const one of document.querySelectorAll(".mark .ring, .mark .whisker, .mark .tick")) {
    if (!visible(one)) continue;
    const ratio = contrast(getComputedStyle(one).stroke, behind(one.closest("div, li")));
    if (ratio < 3) say(one, `a line has a contrast of ${ratio.toFixed(2)}`);
  }
  return [...new Set(findings)].slice(0, 20);
})()
