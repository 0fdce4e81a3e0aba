(function () {
  "use strict";
  var charts = JSON.parse(document.getElementById("charts").textContent);
  var root = document.documentElement;
  var powers = "⁰¹²³⁴⁵⁶⁷⁸⁹";

  function colour(name) { return getComputedStyle(root).getPropertyValue(name).trim(); }

  // What the theme changes in a chart: its text, its axes, its grid.
  function themed(layout) {
    var change = { "font.color": colour("--ink") };
    Object.keys(layout).forEach(function (key) {
      if (/^[xy]axis\d*$/.test(key) && layout[key].visible !== false) {
        change[key + ".gridcolor"] = colour("--grid");
        change[key + ".linecolor"] = colour("--axis");
        change[key + ".tickcolor"] = colour("--axis");
      }
    });
    return change;
  }

  function hasWebGL() {
    try {
      var canvas = document.createElement("canvas");
      return !!(canvas.getContext("webgl2") || canvas.getContext("webgl"));
    } catch (error) { return false; }
  }

  // The buttons are listed one by one: none of them sends anything anywhere.
  function config(three) {
    var buttons = three ? ["orbitRotation", "pan3d", "zoom3d", "resetCameraDefault3d"] : ["zoom2d", "pan2d", "resetScale2d"];
    return { responsive: true, displaylogo: false, modeBarButtons: [["toImage"], buttons] };
  }
  var webgl = hasWebGL();
  Object.keys(charts).forEach(function (id) {
    var place = document.getElementById(id);
    var chart = charts[id];
    if (!place) { return; }
    if (chart.three && !webgl) {
      var note = document.createElement("p");
      note.className = "no-webgl";
      note.textContent = "This browser shows no 3-D graphics (WebGL is off). The maps beside this text show the same density.";
      place.style.height = "auto";
      place.appendChild(note);
      return;
    }
    var change = themed(chart.layout);
    Object.keys(change).forEach(function (path) {
      var steps = path.split("."), last = steps.pop();
      steps.reduce(function (inner, step) { return inner[step] || (inner[step] = {}); }, chart.layout)[last] = change[path];
    });
    if (chart.three) {  // what is seen in space scales with the height alone
      chart.layout.height = Math.min(chart.layout.height, Math.round(0.75 * place.clientWidth));
      place.style.height = chart.layout.height + "px";
    }
    if (chart.volume) { drawSurfaces(place, chart); }
    Plotly.newPlot(place, chart.data, chart.layout, config(chart.three));
  });

  // The surfaces come first, so that the number of a level is that of its trace; a slider sets the value of one.
  function drawSurfaces(place, chart) {
    var volume = chart.volume;
    chart.data = volume.levels.map(function (level) {
      return Object.assign({
        type: "mesh3d", color: level.colour, opacity: level.opacity, flatshading: false, hoverinfo: "name",
        name: level.label, meta: level.label, lighting: { ambient: 0.55, diffuse: 0.7, specular: 0.15, roughness: 0.6 }
      }, densitySurface.mesh(volume, level.value));
    }).concat(chart.data);
    var slider = document.getElementById(place.id + "-level");
    var index = volume.levels.findIndex(function (level) { return level.movable; });
    if (!slider || index < 0) { return; }
    var box = slider.closest(".level"), words = box.querySelector("output"), span = Math.log(volume.highest / volume.lowest);
    var steps = Number(slider.max), waiting = false;
    function chosen() { return volume.lowest * Math.exp(span * Number(slider.value) / steps); }
    function say(value) {
      var share = Math.round(100 * densitySurface.enclosed(volume, value));
      var parts = value.toExponential(1).split("e");
      var power = String(Number(parts[1])).replace("-", "⁻").replace(/\d/g, function (digit) { return powers[digit]; });
      words.textContent = parts[0] + " × 10" + power + " Å⁻³, around " + share + " % of the probability";
    }
    box.hidden = false;
    slider.value = Math.round(steps * Math.log(volume.levels[index].value / volume.lowest) / span);
    say(volume.levels[index].value);
    slider.addEventListener("input", function () {
      say(chosen());
      if (waiting) { return; }
      waiting = true;
      requestAnimationFrame(function () {
        waiting = false;
        var mesh = densitySurface.mesh(volume, chosen()), change = {};
        Object.keys(mesh).forEach(function (key) { change[key] = [mesh[key]]; });
        Plotly.restyle(place, change, [index]);
      });
    });
  }

  function drawn() { return Array.prototype.filter.call(document.querySelectorAll(".chart"), function (c) { return c.layout; }); }

  function nameSwitch() {
    var dark = root.getAttribute("data-theme") === "dark";
    var button = document.getElementById("theme");
    button.textContent = dark ? "Light" : "Dark";
    button.setAttribute("aria-pressed", String(dark));
  }
  nameSwitch();

  function setTheme(theme) {
    root.setAttribute("data-theme", theme);
    nameSwitch();
    drawn().forEach(function (chart) { Plotly.relayout(chart, themed(chart.layout)); });
  }
  document.getElementById("theme").addEventListener("click", function () {
    var theme = root.getAttribute("data-theme") === "dark" ? "light" : "dark";
    setTheme(theme);
    try { localStorage.setItem("superionic-theme", theme); } catch (error) { /* storage may be closed to files */ }
  });

  // Long tables are folded by the style sheet; a button unfolds them.
  document.querySelectorAll("button.fold").forEach(function (button) {
    button.addEventListener("click", function () {
      var table = document.getElementById(button.getAttribute("aria-controls"));
      var open = !table.classList.toggle("folded");
      button.setAttribute("aria-expanded", String(open));
      button.textContent = open ? "Show fewer" : "Show all " + button.dataset.all;
      if (!open) { table.scrollIntoView({ block: "nearest" }); }
    });
  });

  // The first number in a cell, with its power of ten if it has one; NaN if there is none.
  function numberIn(words) {
    // What stands in brackets behind a value is its interval.
    var plain = words.split(" (")[0].replace(/\u2212/g, "-").replace(/\u2009/g, "");
    var found = /-?\d+(?:\.\d+)?(?:e[+-]?\d+)?/i.exec(plain);
    if (!found) { return NaN; }
    var power = /(?:× )?10(⁻?)([⁰¹²³⁴⁵⁶⁷⁸⁹]+)/.exec(plain);
    if (!power) { return Number(found[0]); }
    var exponent = Number(power[2].split("").map(function (digit) { return powers.indexOf(digit); }).join(""));
    var factor = plain.slice(power.index, power.index + 1) === "×" ? Number(found[0]) : 1;
    return factor * Math.pow(10, power[1] ? -exponent : exponent);
  }

  // A column sorts its table: ascending, descending, and back to the order of the report.
  document.querySelectorAll("table.sortable").forEach(function (table) {
    var body = table.tBodies[0], original = Array.prototype.slice.call(body.rows);
    var heads = Array.prototype.slice.call(table.tHead.rows[0].cells);
    heads.forEach(function (head, column) {
      var button = document.createElement("button");
      button.type = "button";
      button.title = "Sort by this column";
      while (head.firstChild) { button.appendChild(head.firstChild); }
      head.appendChild(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", function () {
        var next = { none: "ascending", ascending: "descending", descending: "none" }[head.getAttribute("aria-sort")];
        heads.forEach(function (other) { other.setAttribute("aria-sort", other === head ? next : "none"); });
        sorted(original, column, head.classList.contains("number"), next).forEach(function (row) { body.appendChild(row); });
      });
    });
  });

  function sorted(rows, column, numeric, way) {
    if (way === "none") { return rows; }
    var sign = way === "descending" ? -1 : 1;
    return rows.map(function (row) {
      var words = row.cells[column].textContent;
      return { row: row, words: words, value: numeric ? numberIn(words) : 0 };
    }).sort(function (one, two) {
      // Unknown values come last in either order.
      var lacking = numeric ? isNaN(one.value) - isNaN(two.value) : (one.words === "–") - (two.words === "–");
      if (lacking) { return lacking; }
      if (numeric) { return isNaN(one.value) ? 0 : sign * (one.value - two.value); }
      return sign * one.words.localeCompare(two.words, "en", { numeric: true });
    }).map(function (item) { return item.row; });
  }

  // A click on a name of the legend hides its data in all panels of the figure.
  document.querySelectorAll(".legend button").forEach(function (button) {
    button.addEventListener("click", function () {
      var shown = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(shown));
      button.closest("figure").querySelectorAll(".chart").forEach(function (chart) {
        var chosen = [];
        (chart.data || []).forEach(function (trace, index) {
          var name = trace.meta || "";
          if (name === button.dataset.name || name.indexOf(button.dataset.name + ": ") === 0) { chosen.push(index); }
        });
        if (chosen.length) { Plotly.restyle(chart, { visible: shown }, chosen); }
      });
    });
  });

  // Paper is white and narrower than the window.
  var before = "light";
  window.addEventListener("beforeprint", function () {
    before = root.getAttribute("data-theme");
    if (before === "dark") { setTheme("light"); }
    drawn().forEach(function (chart) { Plotly.Plots.resize(chart); });
  });
  window.addEventListener("afterprint", function () {
    if (before === "dark") { setTheme("dark"); }
    drawn().forEach(function (chart) { Plotly.Plots.resize(chart); });
  });
})();
