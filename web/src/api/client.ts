// Typed calls of our own API. Every unsafe request carries the session's CSRF token.
import { signal } from "@preact/signals";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];

type Ok<O> = O extends { responses: infer R }
  ? R extends { 200: { content: { "application/json": infer T } } } ? T
  : R extends { 201: { content: { "application/json": infer T } } } ? T
  : undefined
  : never;
type PathsWith<M extends string> = { [P in keyof paths]: paths[P] extends Record<M, object> ? P : never }[keyof paths];
type Operation<P extends keyof paths, M extends string> = paths[P] extends Record<M, infer O> ? O : never;
type Body<O> = O extends { requestBody: { content: { "application/json": infer T } } } ? T : undefined;
type Query = Record<string, string | number | boolean | string[] | null | undefined>;
type PathValues = Record<string, string | number>;

/** Empty while nobody is signed in. */
export const csrfToken = signal("");
/** Counts answers 401: the session ended, wherever that was noticed. */
export const signedOut = signal(0);

export class ApiError extends Error {
  constructor(readonly status: number, readonly detail: string, readonly problem: Record<string, unknown> = {}) {
    super(detail);
  }
}

export async function request<T>(method: string, url: string, body?: unknown, headers: HeadersInit = {}): Promise<T> {
  const unsafe = method !== "GET";
  const answer = await fetch(url, {
    method,
    credentials: "same-origin",
    headers: {
      Accept: "application/json",
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      ...(unsafe && csrfToken.value ? { "X-CSRF-Token": csrfToken.value } : {}),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (answer.ok) return (answer.status === 204 ? undefined : await answer.json()) as T;
  if (answer.status === 401 && !url.startsWith("/api/session")) signedOut.value++;
  const problem = (await answer.json().catch(() => ({}))) as Record<string, unknown>;
  throw new ApiError(answer.status, String(problem["detail"] ?? answer.statusText), problem);
}

export function address(path: string, values: PathValues = {}, query: Query = {}): string {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String(values[name])));
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (Array.isArray(value)) value.forEach((one) => search.append(name, one));
    else if (value !== undefined && value !== null && value !== "") search.set(name, String(value));
  }
  const text = search.toString();
  return text ? `${filled}?${text}` : filled;
}

export function get<P extends PathsWith<"get">>(path: P, values: PathValues = {}, query: Query = {}): Promise<Ok<Operation<P, "get">>> {
  return request("GET", address(path, values, query));
}

export function post<P extends PathsWith<"post">>(
  path: P, values: PathValues, body: Body<Operation<P, "post">>, headers: HeadersInit = {},
): Promise<Ok<Operation<P, "post">>> {
  return request("POST", address(path, values), body, headers);
}
