// Addresses without a library: the path decides the page, links stay links.
import { signal } from "@preact/signals";

export const path = signal(location.pathname);

export function go(to: string, replace = false): void {
  if (to === location.pathname) return;
  history[replace ? "replaceState" : "pushState"](null, "", to);
  path.value = location.pathname;
}

addEventListener("popstate", () => { path.value = location.pathname; });

/** Follow clicks on links to our own pages without loading the document again. */
export function followLinks(root: HTMLElement): void {
  root.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const link = (event.target as Element).closest("a");
    const to = link?.getAttribute("href");
    if (!link || !to?.startsWith("/") || to.startsWith("/api/") || link.target) return;
    event.preventDefault();
    go(to);
  });
}
