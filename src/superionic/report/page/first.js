// Before anything is painted: whether scripts run, and the light that the reader chose or the system asks for.
(function () {
  "use strict";
  var root = document.documentElement, chosen = null;
  root.classList.add("js");
  try { chosen = localStorage.getItem("superionic-theme"); } catch (error) { /* storage may be closed to files */ }
  var dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
  root.setAttribute("data-theme", chosen === "dark" || chosen === "light" ? chosen : dark ? "dark" : "light");
})();
