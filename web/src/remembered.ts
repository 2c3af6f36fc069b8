// What this browser remembers. Storage may be forbidden or full: then it is remembered until the page is left.
import { effect, signal, type Signal } from "@preact/signals";

export function remembered<T>(key: string, otherwise: T): Signal<T> {
  let first = otherwise;
  try {
    const kept = localStorage.getItem(`fleetward.${key}`);
    if (kept !== null) first = JSON.parse(kept) as T;
  } catch { /* as above */ }
  const value = signal(first);
  let untouched = true;
  effect(() => {
    const text = JSON.stringify(value.value);
    if (untouched) {
      untouched = false;
      return;
    }
    try { localStorage.setItem(`fleetward.${key}`, text); } catch { /* as above */ }
  });
  return value;
}
