// Light, dark, or as the system has it.
import { effect, signal } from "@preact/signals";
import { remembered } from "./remembered";

export type Theme = "system" | "light" | "dark";
export const theme = remembered<Theme>("theme", "system");
/** What is shown. */
export const dark = signal(false);

const system = matchMedia("(prefers-color-scheme: dark)");
const systemDark = signal(system.matches);
system.addEventListener("change", () => { systemDark.value = system.matches; });

effect(() => {
  dark.value = theme.value === "system" ? systemDark.value : theme.value === "dark";
  document.documentElement.dataset["theme"] = dark.value ? "dark" : "light";
});
