// Replays recorded episodes of a robot: poses from the page, drawn by three.js.
"use strict";
(() => {
  const root = document.getElementById("replay");
  const data = JSON.parse(document.getElementById("replay-data").textContent);
  const part = (name) => root.querySelector(`[data-part="${name}"]`);

  function bytes(text) {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer;
  }

  for (const episode of data.episodes) {
    episode.center = new Float32Array(bytes(episode.center));
    episode.poses = new Int16Array(bytes(episode.poses));
    episode.duration = (episode.frames - 1) * episode.timestep;
  }

  // Colours follow the page's, which follow the light or dark setting.
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const themes = {
    light: { sky: "#dfe7ef", tiles: ["#c3ccd6", "#d5dce4"], sky_light: 1.9, sun: 2.2 },
    dark: { sky: "#20262d", tiles: ["#2b323a", "#343c46"], sky_light: 1.5, sun: 2.0 },
  };

  const canvas = document.createElement("canvas");
  const context = canvas.getContext("webgl2", { antialias: true });
  if (!context) return; // the stills stay
  const renderer = new THREE.WebGLRenderer({ canvas, context });
  part("view").append(canvas);
  renderer.shadowMap.enabled = true;
  THREE.Object3D.DEFAULT_UP.set(0, 0, 1);
  const scene = new THREE.Scene();
  const camera = new THREE.PerspectiveCamera(40, 1, 0.02, 400);
  const controls = new THREE.OrbitControls(camera, canvas);
  controls.enablePan = false;
  controls.minDistance = 0.6 * data.radius;
  controls.maxDistance = 30 * data.radius;
  controls.maxPolarAngle = 0.52 * Math.PI;
  // The page scrolls on under the pointer until the view is pressed; on a phone it always does.
  controls.enableZoom = false;
  canvas.style.touchAction = "pan-y";

  const skylight = new THREE.HemisphereLight("#ffffff", "#8a8f96", 1);
  const sun = new THREE.DirectionalLight("#ffffff", 1);
  const sunOffset = new THREE.Vector3(-0.45, -0.75, 1.5).multiplyScalar(4 * data.radius);
  sun.castShadow = true;
  sun.shadow.mapSize.set(1024, 1024);
  sun.shadow.bias = -0.0005;
  sun.shadow.normalBias = 0.01;
  for (const [side, sign] of [["left", -1], ["right", 1], ["bottom", -1], ["top", 1]]) {
    sun.shadow.camera[side] = sign * 2.5 * data.radius;
  }
  sun.shadow.camera.far = 12 * data.radius;
  scene.add(skylight, sun, sun.target);

  const TILE = 1; // metres
  const floor = data.floor === null ? null : makeFloor();
  const bodies = makeBodies();

  function makeFloor() {
    const size = 300;
    const texture = new THREE.DataTexture(new Uint8Array(16), 2, 2);
    texture.wrapS = texture.wrapT = THREE.RepeatWrapping;
    texture.magFilter = THREE.NearestFilter;
    texture.minFilter = THREE.LinearMipmapLinearFilter;
    texture.generateMipmaps = true;
    texture.anisotropy = 8;
    texture.colorSpace = THREE.SRGBColorSpace;
    texture.repeat.set(size / (2 * TILE), size / (2 * TILE));
    const material = new THREE.MeshLambertMaterial({ map: texture });
    const mesh = new THREE.Mesh(new THREE.PlaneGeometry(size, size), material);
    mesh.receiveShadow = true;
    scene.add(mesh);
    return mesh;
  }

  function makeBodies() {
    const count = 1 + Math.max(-1, ...data.geoms.map((geom) => geom.body));
    const groups = Array.from({ length: count }, () => new THREE.Group());
    for (const geom of data.geoms) {
      const [r, g, b, alpha] = geom.color;
      const material = new THREE.MeshStandardMaterial({ roughness: 0.65 });
      material.color.setRGB(r, g, b, THREE.SRGBColorSpace);
      material.transparent = alpha < 1;
      material.opacity = alpha;
      const mesh = new THREE.Mesh(shape(geom), material);
      mesh.castShadow = mesh.receiveShadow = alpha === 1;
      mesh.position.fromArray(geom.position);
      const [w, x, y, z] = geom.quaternion;
      mesh.quaternion.set(x, y, z, w);
      groups[geom.body].add(mesh);
    }
    scene.add(...groups);
    return groups;
  }

  function shape({ kind, size: [a, b, c], ...geom }) {
    switch (kind) {
      case "sphere":
        return new THREE.SphereGeometry(a, 32, 20);
      case "ellipsoid":
        return new THREE.SphereGeometry(1, 32, 20).scale(a, b, c);
      case "capsule": // MuJoCo's axis is z, three.js's is y
        return new THREE.CapsuleGeometry(a, 2 * b, 10, 24).rotateX(Math.PI / 2);
      case "cylinder":
        return new THREE.CylinderGeometry(a, a, 2 * b, 32).rotateX(Math.PI / 2);
      case "mesh": {
        const mesh = new THREE.BufferGeometry();
        const vertices = new Float32Array(bytes(geom.vertices));
        mesh.setAttribute("position", new THREE.BufferAttribute(vertices, 3));
        mesh.setIndex(new THREE.BufferAttribute(new Uint32Array(bytes(geom.faces)), 1));
        mesh.computeVertexNormals();
        return mesh;
      }
      default:
        return new THREE.BoxGeometry(2 * a, 2 * b, 2 * c);
    }
  }

  function applyTheme() {
    const theme = dark.matches ? themes.dark : themes.light;
    scene.background = new THREE.Color(theme.sky);
    scene.fog = new THREE.Fog(theme.sky, 6 * data.radius, 45 * data.radius);
    skylight.intensity = theme.sky_light;
    sun.intensity = theme.sun;
    if (floor) {
      const [one, two] = theme.tiles.map((tile) => parseInt(tile.slice(1), 16));
      const texels = [one, two, two, one].flatMap((v) => [v >> 16, (v >> 8) & 255, v & 255, 255]);
      floor.material.map.image.data.set(texels);
      floor.material.map.needsUpdate = true;
    }
    dirty = true;
  }

  // What is shown: an episode at a time, in seconds.
  let episode = data.episodes[0];
  let time = 0;
  let playing = false;
  let dirty = true;
  let last = null;
  const center = new THREE.Vector3();
  const from = new THREE.Quaternion();
  const to = new THREE.Quaternion();

  function pose() {
    const exact = Math.min(time / episode.timestep, episode.frames - 1);
    const frame = Math.min(Math.floor(exact), Math.max(0, episode.frames - 2));
    const next = Math.min(frame + 1, episode.frames - 1);
    const share = exact - frame;
    const mix = (array, i, j) => array[i] + share * (array[j] - array[i]);
    center.set(...[0, 1, 2].map((axis) => mix(episode.center, 3 * frame + axis, 3 * next + axis)));
    // Only the robot is at rest in the scene; the floor passes below it, however far it runs.
    bodies.forEach((body, index) => {
      const i = 7 * (frame * bodies.length + index);
      const j = 7 * (next * bodies.length + index);
      const p = episode.poses;
      body.position.set(...[0, 1, 2].map((axis) => mix(p, i + axis, j + axis) * episode.scale));
      body.position.z += center.z;
      from.set(p[i + 4], p[i + 5], p[i + 6], p[i + 3]).normalize();
      to.set(p[j + 4], p[j + 5], p[j + 6], p[j + 3]).normalize();
      body.quaternion.copy(from).slerp(to, share);
    });
    if (floor) {
      const period = 2 * TILE;
      floor.position.set(-(center.x % period), -(center.y % period), data.floor);
    }
    const target = new THREE.Vector3(0, 0, Math.max(center.z, 0.45 * data.radius));
    camera.position.add(target).sub(controls.target);
    controls.target.copy(target);
    sun.target.position.copy(target);
    sun.position.copy(target).add(sunOffset);
    const healthy = episode.healthy[Math.round(exact)] === "1";
    root.dataset.frame = Math.round(exact);
    part("time").textContent = `${time.toFixed(1)} s of ${episode.duration.toFixed(1)} s`;
    part("health").textContent = healthy ? "healthy" : "not healthy";
    part("health").dataset.healthy = healthy;
    part("scrubber").value = time;
    part("scrubber").setAttribute("aria-valuetext", part("time").textContent);
  }

  function drawTimeline() {
    // One stretch of colour for each stretch of health.
    const stops = [];
    const n = episode.frames;
    for (let begin = 0, i = 1; i <= n; i++) {
      if (i < n && episode.healthy[i] === episode.healthy[begin]) continue;
      const color = episode.healthy[begin] === "1" ? "var(--good)" : "var(--bad)";
      stops.push(`${color} ${(100 * begin) / n}% ${(100 * i) / n}%`);
      begin = i;
    }
    part("timeline").style.background = `linear-gradient(to right, ${stops.join(", ")})`;
  }

  function choose(index) {
    episode = data.episodes[index];
    root.dataset.episode = episode.names.join(" ");
    part("scrubber").max = episode.duration;
    part("scrubber").step = episode.timestep / 2;
    const total = Math.round(episode.return).toLocaleString("en");
    part("facts").textContent = episode.recovered
      ? `healthy for good after ${episode.recoveryTime.toFixed(2)} s; return ${total}`
      : `did not come back; return ${total}`;
    for (const button of part("episodes").children) {
      button.setAttribute("aria-pressed", String(Number(button.value) === index));
    }
    drawTimeline();
    seek(0);
  }

  function seek(seconds) {
    time = Math.max(0, Math.min(seconds, episode.duration));
    pose();
    dirty = true;
  }

  function play(on) {
    if (on && time >= episode.duration) seek(0);
    playing = on;
    last = null;
    root.dataset.playing = on;
    part("play").textContent = on ? "Pause" : "Play";
  }

  function resetView() {
    const distance = (1.3 * data.radius) / Math.tan((camera.fov * Math.PI) / 360);
    camera.position.set(0.1, -0.97, 0.3).setLength(distance).add(controls.target);
    controls.update();
    dirty = true;
  }

  function resize() {
    const { clientWidth: width, clientHeight: height } = part("view");
    renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    renderer.setSize(width, height, false);
    camera.aspect = width / Math.max(1, height);
    camera.updateProjectionMatrix();
    dirty = true;
  }

  function draw(now) {
    requestAnimationFrame(draw);
    if (playing) {
      const passed = last === null ? 0 : Math.min(0.25, (now - last) / 1000);
      last = now;
      seek(time + passed * Number(part("speed").value));
      if (time >= episode.duration) play(false);
    }
    if (!dirty) return;
    dirty = false;
    renderer.render(scene, camera);
  }

  part("play").addEventListener("click", () => play(!playing));
  part("scrubber").addEventListener("input", () => seek(Number(part("scrubber").value)));
  part("reset").addEventListener("click", resetView);
  for (const button of part("episodes").children) {
    button.addEventListener("click", () => {
      choose(Number(button.value));
      play(true);
    });
  }
  part("view").addEventListener("keydown", (event) => {
    if (event.key !== " ") return;
    event.preventDefault();
    play(!playing);
  });
  part("view").addEventListener("pointerdown", () => (controls.enableZoom = true));
  part("view").addEventListener("pointerleave", () => (controls.enableZoom = false));
  controls.addEventListener("change", () => (dirty = true));
  dark.addEventListener("change", applyTheme);
  new ResizeObserver(resize).observe(part("view"));
  root.classList.add("live");
  choose(Number(root.dataset.first));
  resetView();
  applyTheme();
  resize();
  play(!matchMedia("(prefers-reduced-motion: reduce)").matches);
  requestAnimationFrame(draw);
})();
