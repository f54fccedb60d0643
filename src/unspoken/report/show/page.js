// Every figure that says where its curves are tells their values: the one nearest to the pointer,
// and by the arrow keys one after the other, which a screen reader hears as well.
for (const plot of document.querySelectorAll("[data-curves]")) {
  const svg = plot.querySelector("svg");
  const lines = JSON.parse(plot.dataset.curves).flatMap(axis => axis.curves.map(curve => (
    {axis, curve, order: [...curve.x.keys()].sort((a, b) => curve.x[a] - curve.x[b])}
  )));
  const [dot, tip, heard] = ["i", "div", "output"].map(tag => plot.appendChild(document.createElement(tag)));
  [dot.className, tip.className] = ["dot", "tip"];
  dot.hidden = tip.hidden = true;
  tip.setAttribute("aria-hidden", "true");
  heard.setAttribute("aria-live", "polite");
  plot.tabIndex = 0;
  plot.setAttribute("role", "application");
  plot.setAttribute("aria-label", `${svg.getAttribute("aria-label")}. Arrow keys tell its values: left and right along a curve, up and down to another.`);
  const share = (value, [low, high], log) =>
    log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
  const place = ({axis, curve}, i, area) => {
    const [left, top, wide, tall] = axis.box;
    return [
      area.left + (left + wide * share(curve.x[i], axis.x)) * area.width,
      area.top + (top + tall * (1 - share(curve.y[i], axis.y, axis.log))) * area.height,
    ];
  };
  const said = number => number.toLocaleString("en", {maximumSignificantDigits: 6});
  let line = 0, step = 0; // which curve, and which of its points from left to right
  const show = () => {
    const {axis, curve, order} = lines[line], i = order[step], home = plot.getBoundingClientRect();
    const [u, v] = place(lines[line], i, svg.getBoundingClientRect());
    const left = u - home.left, top = v - home.top;
    dot.hidden = tip.hidden = false;
    dot.style.background = curve.colour ? `var(--${curve.colour})` : "var(--ink)";
    tip.textContent = `${curve.name}\n${axis.title}: ${said(curve.y[i])}\n${axis.over}: ${axis.names ? axis.names[curve.x[i]] : said(curve.x[i])}`;
    const wide = tip.offsetWidth, above = top - tip.offsetHeight - 12;
    [dot.style.left, dot.style.top] = [`${left}px`, `${top}px`];
    tip.style.left = `${Math.max(0, Math.min(left - wide / 2, home.width - wide - 2))}px`;
    tip.style.top = `${above < 0 ? top + 12 : above}px`;
  };
  const hide = () => { dot.hidden = tip.hidden = true; };
  const point = event => {
    const area = svg.getBoundingClientRect();
    let found, least = 60;
    lines.forEach((each, number) => each.order.forEach((i, rank) => {
      const [u, v] = place(each, i, area), far = Math.hypot(u - event.clientX, v - event.clientY);
      if (far < least) [least, found] = [far, [number, rank]];
    }));
    if (!found) return hide();
    [line, step] = found;
    show();
  };
  const tell = () => { show(); heard.textContent = tip.textContent; };
  const turn = by => {
    const at = lines[line].curve.x[lines[line].order[step]];
    line = (line + by + lines.length) % lines.length;
    const {curve, order} = lines[line], far = rank => Math.abs(curve.x[order[rank]] - at);
    step = [...order.keys()].reduce((best, rank) => far(rank) < far(best) ? rank : best);
  };
  const go = to => { step = Math.max(0, Math.min(lines[line].order.length - 1, to)); };
  const keys = {
    ArrowLeft: () => go(step - 1), ArrowRight: () => go(step + 1), Home: () => go(0), End: () => go(Infinity),
    ArrowUp: () => turn(-1), ArrowDown: () => turn(1),
  };
  plot.addEventListener("pointermove", point);
  plot.addEventListener("pointerdown", point);
  plot.addEventListener("pointerleave", hide);
  plot.addEventListener("focus", () => { if (plot.matches(":focus-visible")) tell(); });
  plot.addEventListener("blur", hide);
  plot.addEventListener("keydown", event => {
    if (event.key === "Escape") hide();
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
    tell();
  });
}
