(function () {
  "use strict";
  var charts = JSON.parse(document.getElementById("charts").textContent);
  var root = document.documentElement;

  function colour(name) { return getComputedStyle(root).getPropertyValue(name).trim(); }

  // What the theme changes in a chart: its words, its axes, its grid.
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

  // The buttons are named one by one: none of them sends anything anywhere.
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
    Plotly.newPlot(place, chart.data, chart.layout, config(chart.three));
  });

  function drawn() { return Array.prototype.filter.call(document.querySelectorAll(".chart"), function (c) { return c.layout; }); }

  function setTheme(theme) {
    root.setAttribute("data-theme", theme);
    var button = document.getElementById("theme");
    button.textContent = theme === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-pressed", String(theme === "dark"));
    drawn().forEach(function (chart) { Plotly.relayout(chart, themed(chart.layout)); });
  }

  document.getElementById("theme").addEventListener("click", function () {
    setTheme(root.getAttribute("data-theme") === "dark" ? "light" : "dark");
  });

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
