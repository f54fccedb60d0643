// The value nearest to the pointer, in every figure that says where its curves are.
for (const plot of document.querySelectorAll("[data-curves]")) {
  const axes = JSON.parse(plot.dataset.curves), svg = plot.querySelector("svg");
  const dot = plot.appendChild(document.createElement("i"));
  const tip = plot.appendChild(document.createElement("output"));
  dot.className = "dot";
  dot.hidden = tip.hidden = true;
  const share = (value, [low, high], log) =>
    log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
  const find = (x, y, width, height) => {
    let best, least = 60;
    for (const axis of axes) {
      const [left, top, wide, tall] = axis.box;
      for (const curve of axis.curves) curve.x.forEach((at, i) => {
        const u = (left + wide * share(at, axis.x)) * width;
        const v = (top + tall * (1 - share(curve.y[i], axis.y, axis.log))) * height;
        const far = Math.hypot(u - x, v - y);
        if (far < least) [least, best] = [far, {axis, curve, i, u, v}];
      });
    }
    return best;
  };
  const show = event => {
    const area = svg.getBoundingClientRect(), home = plot.getBoundingClientRect();
    const found = find(event.clientX - area.left, event.clientY - area.top, area.width, area.height);
    dot.hidden = tip.hidden = !found;
    if (!found) return;
    const {axis, curve, i} = found, said = number => number.toLocaleString("en", {maximumSignificantDigits: 6});
    const left = found.u + area.left - home.left, top = found.v + area.top - home.top;
    dot.style.background = curve.colour ? `var(--${curve.colour})` : "var(--ink)";
    tip.textContent = `${curve.name}\n${axis.title}: ${said(curve.y[i])}\n${axis.over}: ${axis.names ? axis.names[curve.x[i]] : said(curve.x[i])}`;
    const wide = tip.offsetWidth, above = top - tip.offsetHeight - 12;
    [dot.style.left, dot.style.top] = [`${left}px`, `${top}px`];
    tip.style.left = `${Math.max(0, Math.min(left - wide / 2, home.width - wide - 2))}px`;
    tip.style.top = `${above < 0 ? top + 12 : above}px`;
  };
  plot.addEventListener("pointermove", show);
  plot.addEventListener("pointerdown", show);
  plot.addEventListener("pointerleave", () => { dot.hidden = tip.hidden = true; });
}
