// The live page: asks for the state, shows it, and shows the report anew when there is a newer one.
(function () {
  "use strict";
  var EVERY_MS = 2000;
  var state = null, shown = 0, lostSince = null;

  function element(id) { return document.getElementById(id); }

  function made(tag, words, kind) {
    var node = document.createElement(tag);
    if (words !== undefined) { node.textContent = words; }
    if (kind) { node.className = kind; }
    return node;
  }

  function duration(seconds) {
    if (seconds < 90) { return Math.round(seconds) + " s"; }
    if (seconds < 7200) { return Math.round(seconds / 60) + " min"; }
    if (seconds < 259200) { return (seconds / 3600).toFixed(1) + " h"; }
    return Math.round(seconds / 86400) + " days";
  }

  function counted(number, what) { return number + " " + what + (number === 1 ? "" : "s"); }

  function clock(seconds) {
    return new Date(1000 * seconds).toLocaleString([], {weekday: "short", hour: "2-digit", minute: "2-digit", second: "2-digit"});
  }

  function line(kind, strong, rest) {
    var node = made("p", undefined, "line " + kind);
    node.append(made("b", strong), made("span", rest || ""));
    return node;
  }

  function sum(stages, name) {
    return stages.reduce(function (total, stage) { return total + stage[name]; }, 0);
  }

  function lines(view) {
    var status = view.status, nodes = [];
    if (view.problem) { nodes.push(line("caution", "The run folder cannot be read now: ", view.problem)); }
    if (!status) { return nodes.length ? nodes : [line("", "Reading the run folder …")]; }
    var cost = "cost so far: " + duration(sum(status.stages, "cpu_s")) + " of CPU time";
    if (sum(status.stages, "gpu_s") > 0) { cost += " and " + duration(sum(status.stages, "gpu_s")) + " of GPU time"; }
    var now = status.stages.find(function (stage) { return stage.state === "pending"; });
    if (status.trouble) {
      nodes.push(line("warning", "A run cannot continue: ", status.trouble));
    } else if (status.done) {
      nodes.push(line("", "Everything is done. ", cost));
    } else if (status.run) {
      nodes.push(line("", "At work: " + (now ? now.stage : "between stages") + ". ",
        counted(status.running.length, "task") + " on " + status.run.host + " (process " + status.run.pid + "); " + cost));
    } else {
      nodes.push(line("caution", "No run is in progress. ", cost + "; superionic run continues where it stopped"));
    }
    if (now && now.left_s !== null && !status.done) {
      var until = status.run ? ", until " + clock(view.looked_s + now.left_s) : " of work";
      var waiting = status.stages.filter(function (stage) { return stage.state === "waiting"; })
        .map(function (stage) { return stage.stage; });
      nodes.push(line("", now.stage + " needs about " + duration(now.left_s) + " more" + until + ". ",
        "estimated from the tasks so far" + (waiting.length ? "; not counting " + waiting.join(", ") : "")));
    }
    return nodes;
  }

  function row(stage, withGpus) {
    var node = made("tr", undefined, stage.state), all = stage.done + stage.pending;
    var done = made("td"), bar = made("progress");
    bar.max = Math.max(1, all);
    bar.value = stage.state === "done" ? bar.max : stage.done;
    bar.setAttribute("aria-label", stage.stage + " done");
    done.append(bar, String(stage.done));
    node.append(made("th", stage.stage), made("td", stage.running ? stage.state + ", " + stage.running + " at work" : stage.state), done,
      made("td", stage.failed || "", "number"), made("td", stage.state === "waiting" ? "?" : stage.pending, "number"),
      made("td", stage.tasks_per_h === null ? "" : Math.round(stage.tasks_per_h), "number"),
      made("td", stage.cpu_s ? duration(stage.cpu_s) : "", "number"));
    if (withGpus) { node.append(made("td", stage.gpu_s ? duration(stage.gpu_s) : "", "number")); }
    node.append(made("td", stage.left_s !== null && stage.pending ? "about " + duration(stage.left_s) : "", "number"));
    return node;
  }

  function show(view) {
    var status = view.status;
    element("looked").textContent = view.looked_s ? "as of " + clock(view.looked_s) : "";
    element("lines").replaceChildren.apply(element("lines"), lines(view));
    if (status) {
      var withGpus = sum(status.stages, "gpu_s") > 0;
      document.querySelector("th.gpu").hidden = !withGpus;
      var body = document.querySelector("#stages tbody");
      body.replaceChildren.apply(body, status.stages.map(function (stage) { return row(stage, withGpus); }));
      var tasks = status.pending.map(function (task) {
        var running = status.running.some(function (other) { return other.stage === task.stage && other.label === task.label; });
        return made("li", task.stage + ": " + task.label + (running ? "" : " (" + task.reason + ")"), running ? "running" : "");
      });
      var more = status.n_pending - status.pending.length;
      if (more > 0) { tasks.push(made("li", "… and " + more + " more")); }
      var list = document.querySelector("#tasks ul");
      list.replaceChildren.apply(list, tasks);
      element("tasks").hidden = tasks.length === 0;
      var failures = status.failures.map(function (failure) {
        return made("li", failure.stage + ": " + failure.label + ": " + failure.reason);
      });
      list = document.querySelector("#failures ul");
      list.replaceChildren.apply(list, failures);
      element("failures").hidden = failures.length === 0;
      document.querySelector("#failures summary").textContent =
        counted(failures.length, "calculation") + " ended without a result";
    }
    if (view.report || view.report_problem) {
      element("reported").textContent = (view.report ? "Written " + clock(view.reported_s) + ". " : "") +
        (view.report_problem ? "There is no newer report: " + view.report_problem : "");
    }
    if (view.report !== shown) {
      if (element("follow").checked || shown === 0) { showReport(); } else { element("show").hidden = false; }
    }
  }

  function showReport() {
    var frame = element("report");
    shown = state.report;
    if (!shown) { return; }
    element("show").hidden = true;
    frame.hidden = false;
    frame.src = "report/report.html?" + shown + location.hash;
  }

  // The report is as high as its content, so that there is one thing to scroll.
  function fit() {
    var inside = element("report").contentDocument;
    if (inside && inside.body) { element("report").style.height = Math.ceil(inside.body.getBoundingClientRect().height) + 4 + "px"; }
  }

  function lost(error) {
    lostSince = lostSince || Date.now();
    document.body.classList.add("lost");
    element("lines").replaceChildren(line("warning", "The server does not answer. ",
      "What is below is as of " + (state && state.looked_s ? clock(state.looked_s) : "never") +
      "; superionic serve shows the campaign again, and prints a new address. (" + error.message + ")"));
  }

  function ask() {
    fetch("state.json", {cache: "no-store"}).then(function (answer) {
      if (!answer.ok) { throw new Error("status " + answer.status); }
      return answer.json();
    }).then(function (view) {
      lostSince = null;
      document.body.classList.remove("lost");
      state = view;
      show(view);
    }).catch(lost).finally(function () { setTimeout(ask, EVERY_MS); });
  }

  element("show").addEventListener("click", showReport);
  element("follow").addEventListener("change", function () { if (this.checked && state && state.report !== shown) { showReport(); } });
  element("report").addEventListener("load", function () {
    fit();
    if (element("report").contentWindow.ResizeObserver && element("report").contentDocument.body) {
      new ResizeObserver(fit).observe(element("report").contentDocument.body);
    }
  });
  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  function lightOrDark() {
    var chosen = null;
    try { chosen = localStorage.getItem("superionic-theme"); } catch (error) { /* storage may be closed */ }
    document.documentElement.setAttribute("data-theme", chosen === "dark" || chosen === "light" ? chosen : dark.matches ? "dark" : "light");
  }
  dark.addEventListener("change", lightOrDark);
  window.addEventListener("storage", lightOrDark);
  lightOrDark();
  ask();
})();
