// One quad a vehicle. The vertex shader moves it between its last two places, the fragment shader draws its shape:
// moving an arrow, idling a square, parked a disc, no recent fix a hollow diamond. A ring round it tells of an incident.
export const VEHICLES_VERTEX = `#version 300 es
precision highp float;
uniform mat4 u_matrix;
uniform vec2 u_pixel;
uniform float u_size, u_now, u_clock, u_chosen;
layout(location = 0) in vec4 a_places;
layout(location = 1) in vec4 a_motion;
layout(location = 2) in vec3 a_look;
out vec2 v_at;
flat out float v_heading, v_alpha, v_ring;
flat out int v_kind, v_level;
void main() {
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 2.0 - 1.0;
  float part = clamp((u_now - a_motion.x) / a_motion.y, 0.0, 1.0);
  gl_Position = u_matrix * vec4(mix(a_places.xy, a_places.zw, part), 0.0, 1.0);
  bool chosen = a_look.z == u_chosen;
  gl_Position.xy += corner * u_size * u_pixel * gl_Position.w * (chosen ? 1.25 : 1.0);
  v_at = corner;
  v_heading = a_motion.w;
  v_kind = int(a_look.x);
  v_level = int(a_look.y);
  v_ring = chosen ? 1.0 : 0.0;
  float age = u_clock - a_motion.z;
  v_alpha = chosen || v_level > 0 ? 1.0 : mix(1.0, 0.45, smoothstep(30.0, 900.0, age));
}`;

export const VEHICLES_FRAGMENT = `#version 300 es
precision highp float;
uniform vec3 u_kinds[4];
uniform vec3 u_levels[3];
uniform vec3 u_halo, u_ink;
uniform float u_size;
in vec2 v_at;
flat in float v_heading, v_alpha, v_ring;
flat in int v_kind, v_level;
out vec4 colour;
float arrow(vec2 p) {
  float c = cos(v_heading), s = sin(v_heading);
  p = vec2(c * p.x - s * p.y, s * p.x + c * p.y);
  p.x = abs(p.x);
  float outer = dot(p - vec2(0.0, 0.62), normalize(vec2(1.1, 0.46)));
  float inner = dot(p - vec2(0.0, -0.24), normalize(vec2(-0.24, -0.46)));
  return max(outer, inner);
}
float box(vec2 p, float r) { vec2 d = abs(p) - r; return max(d.x, d.y); }
void main() {
  float pixel = 1.0 / u_size;
  float d;
  if (v_kind == 0) d = v_heading > -9.0 ? arrow(v_at) : length(v_at) - 0.34;
  else if (v_kind == 1) d = box(v_at, 0.32);
  else if (v_kind == 2) d = length(v_at) - 0.34;
  else d = abs(abs(v_at.x) + abs(v_at.y) - 0.4) * 0.7071 - 0.085;
  float fill = smoothstep(pixel, -pixel, d);
  float edge = smoothstep(pixel, -pixel, d - 2.0 * pixel);
  vec4 drawn = vec4(mix(u_halo, u_kinds[v_kind], fill), 1.0) * edge * v_alpha;
  float far = length(v_at);
  if (v_level > 0) {
    float ring = smoothstep(pixel, -pixel, abs(far - 0.76) - (0.04 + 0.035 * float(v_level)));
    drawn = mix(drawn, vec4(u_levels[v_level - 1], 1.0), ring);
  }
  if (v_ring > 0.0) {
    float ring = smoothstep(pixel, -pixel, abs(far - 0.94) - 0.05);
    drawn = mix(drawn, vec4(u_ink, 1.0), ring);
  }
  if (drawn.a <= 0.003) discard;
  colour = drawn;
}`;

export const DISC_VERTEX = `#version 300 es
precision highp float;
uniform mat4 u_matrix;
uniform vec2 u_centre;
uniform float u_radius;
out vec2 v_at;
void main() {
  v_at = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 2.0 - 1.0;
  gl_Position = u_matrix * vec4(u_centre + v_at * u_radius, 0.0, 1.0);
}`;

export const DISC_FRAGMENT = `#version 300 es
precision highp float;
uniform vec3 u_ink;
in vec2 v_at;
out vec4 colour;
void main() {
  float far = length(v_at), pixel = fwidth(far);
  float inside = smoothstep(1.0, 1.0 - pixel, far);
  float rim = inside * smoothstep(1.0 - 2.5 * pixel, 1.0 - 1.5 * pixel, far);
  colour = vec4(u_ink, 1.0) * (inside * 0.12 + rim * 0.7);
}`;
