// What replay.js needs of three.js; docs/report.md says how three.min.js is made of it.
export {
  BoxGeometry, BufferAttribute, BufferGeometry, CapsuleGeometry, Color, CylinderGeometry,
  DataTexture, DirectionalLight, Fog, Group, HemisphereLight, LinearMipmapLinearFilter, Mesh,
  MeshLambertMaterial, MeshStandardMaterial, NearestFilter, Object3D, PerspectiveCamera,
  PlaneGeometry, Quaternion, RepeatWrapping, Scene, SphereGeometry, SRGBColorSpace, Vector3,
  WebGLRenderer,
} from "three";
export { OrbitControls } from "three/addons/controls/OrbitControls.js";
