// Surfaces of equal density in a periodic cell, by marching tetrahedra (A. Doi and A. Koide, IEICE Trans. E74, 214 (1991)).
var densitySurface = (function () {
  "use strict";
  // Corners of the six tetrahedra of a box, around one diagonal; bits 0, 1, 2 are steps along a, b, c.
  var TETRAHEDRA = [[0, 1, 3, 7], [0, 1, 5, 7], [0, 2, 3, 7], [0, 2, 6, 7], [0, 4, 5, 7], [0, 4, 6, 7]];

  // Triangles of a tetrahedron, corner by corner as pairs (inside, outside).
  function triangles(inside, outside) {
    if (inside.length === 1) { return [outside.map(function (o) { return [inside[0], o]; })]; }
    if (inside.length === 3) { return [inside.map(function (i) { return [i, outside[0]]; })]; }
    var i = inside[0], j = inside[1], k = outside[0], m = outside[1];
    return [[[i, k], [i, m], [j, m]], [[i, k], [j, m], [j, k]]];
  }

  function unpacked(volume) {
    if (!volume.grid) {
      var bytes = atob(volume.steps), grid = new Uint8Array(bytes.length);
      for (var n = 0; n < bytes.length; n += 1) { grid[n] = bytes.charCodeAt(n); }
      volume.grid = grid;
    }
    return volume.grid;
  }

  // A density as a step of the grid, which counts its logarithm.
  function stepOf(volume, density) {
    return 1 + 254 * Math.log(density / volume.lowest) / Math.log(volume.highest / volume.lowest);
  }

  function densityOf(volume, step) {
    return volume.lowest * Math.pow(volume.highest / volume.lowest, (step - 1) / 254);
  }

  // The share of the probability, above the lowest level, that a surface encloses.
  function enclosed(volume, density) {
    var grid = unpacked(volume), counts = new Float64Array(256), total = 0, inside = 0, least = stepOf(volume, density);
    for (var n = 0; n < grid.length; n += 1) { counts[grid[n]] += 1; }
    for (var step = 1; step < 256; step += 1) {
      var sum = counts[step] * densityOf(volume, step);
      total += sum;
      if (step >= least) { inside += sum; }
    }
    return total > 0 ? inside / total : 0;
  }

  // Vertices x, y, z and corners i, j, k of the triangles, which turn their front to the lower density.
  function mesh(volume, density) {
    var grid = unpacked(volume), level = stepOf(volume, density), shape = volume.shape, cell = volume.cell;
    var na = shape[0], nb = shape[1], nc = shape[2], width = nc + 1, slice = (nb + 1) * width, points = (na + 1) * slice;
    var known = new Map(), out = { x: [], y: [], z: [], i: [], j: [], k: [] };

    function place(point) {
      var u = Math.floor(point / slice) / na, v = Math.floor(point % slice / width) / nb, w = point % width / nc;
      return [0, 1, 2].map(function (axis) { return u * cell[0][axis] + v * cell[1][axis] + w * cell[2][axis]; });
    }
    function vertex(inner, outer) {
      var key = inner.point * points + outer.point;
      var index = known.get(key);
      if (index === undefined) {
        var share = (inner.value - level) / (inner.value - outer.value), p = place(inner.point), q = place(outer.point);
        index = out.x.length;
        known.set(key, index);
        out.x.push(p[0] + share * (q[0] - p[0]));
        out.y.push(p[1] + share * (q[1] - p[1]));
        out.z.push(p[2] + share * (q[2] - p[2]));
      }
      return index;
    }
    function add(triangle) {
      var c = triangle.map(function (edge) { return vertex(edge[0], edge[1]); });
      var ux = out.x[c[1]] - out.x[c[0]], uy = out.y[c[1]] - out.y[c[0]], uz = out.z[c[1]] - out.z[c[0]];
      var vx = out.x[c[2]] - out.x[c[0]], vy = out.y[c[2]] - out.y[c[0]], vz = out.z[c[2]] - out.z[c[0]];
      var normal = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
      var front = triangle.reduce(function (sum, edge) {
        var p = place(edge[0].point), q = place(edge[1].point);
        return sum + normal[0] * (q[0] - p[0]) + normal[1] * (q[1] - p[1]) + normal[2] * (q[2] - p[2]);
      }, 0);
      out.i.push(c[0]);
      out.j.push(front < 0 ? c[2] : c[1]);
      out.k.push(front < 0 ? c[1] : c[2]);
    }

    for (var a = 0; a < na; a += 1) {
      for (var b = 0; b < nb; b += 1) {
        for (var c = 0; c < nc; c += 1) {
          var corners = [], above = 0;
          for (var bits = 0; bits < 8; bits += 1) {
            var i = a + (bits & 1), j = b + (bits >> 1 & 1), k = c + (bits >> 2);
            var value = grid[(i % na * nb + j % nb) * nc + k % nc];
            corners.push({ point: i * slice + j * width + k, value: value });
            if (value > level) { above += 1; }
          }
          if (above === 0 || above === 8) { continue; }
          TETRAHEDRA.forEach(function (path) {
            var inside = [], outside = [];
            path.forEach(function (n) { (corners[n].value > level ? inside : outside).push(corners[n]); });
            if (inside.length && outside.length) { triangles(inside, outside).forEach(add); }
          });
        }
      }
    }
    return out;
  }

  return { mesh: mesh, enclosed: enclosed };
})();
