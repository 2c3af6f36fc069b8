// The words of the pages. One catalogue a language; English is always there, Chinese is loaded when it is wanted.
import { effect, signal } from "@preact/signals";
import { kinds as englishKinds } from "../../../incidents/i18n/en.json";
import { readyToDraw } from "../fonts";
import { remembered } from "../remembered";
import english from "./en.json";

export type Key = keyof typeof english;
export type Language = "en" | "zh-CN";
export type Named = { zh: string; en: string };
type Words = { words: Record<Key, string>; kinds: Record<string, string> };

export const LANGUAGES: readonly Language[] = ["en", "zh-CN"];

const ENGLISH: Words = { words: english, kinds: englishKinds };
const loaded = signal<Words>(ENGLISH);
const spoken: Language = navigator.language.toLowerCase().startsWith("zh") ? "zh-CN" : "en";

export const wantedLanguage = remembered<Language>("language", spoken);
/** The language that is shown: the wanted one as soon as its words are there. */
export const language = signal<Language>("en");

async function load(wanted: Language): Promise<Words> {
  if (wanted === "en") return ENGLISH;
  const [words, shared] = await Promise.all([import("./zh-CN.json"), import("../../../incidents/i18n/zh-CN.json")]);
  return { words: words.default, kinds: shared.kinds };
}

async function switchTo(wanted: Language): Promise<void> {
  const words = await load(wanted).catch(() => null);
  if (words) await readyToDraw(Object.values(words.words).join(""));
  if (words === null || wanted !== wantedLanguage.peek()) return;
  loaded.value = words;
  language.value = wanted;
  document.documentElement.lang = wanted;
}

/** Resolves when the words of the wanted language are there. Afterwards every change of it is followed. */
export async function startLanguage(): Promise<void> {
  await switchTo(wantedLanguage.value);
  effect(() => void switchTo(wantedLanguage.value));
}

export function t(key: Key, values: Record<string, string | number> = {}): string {
  const text = loaded.value.words[key];
  return text.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = values[name];
    return typeof value === "number" ? number(value) : (value ?? "");
  });
}

/** Words for a code that the server sent: `otherwise`, or the code itself, when there are none. */
export function coded(prefix: string, code: string): string {
  const words: Record<string, string> = loaded.value.words;
  return words[`${prefix}.${code}`] ?? code.replaceAll("_", " ");
}

export const kindName = (kind: string): string => loaded.value.kinds[kind] ?? kind.replaceAll("_", " ");
export const named = (name: Named): string => (language.value === "zh-CN" ? name.zh : name.en);
/** A text that the server sent in each language. */
export const inLanguage = (texts: Record<string, string>): string => texts[language.value] ?? texts["en"] ?? "";

export function number(value: number, digits = 0): string {
  return value.toLocaleString(language.value, { maximumFractionDigits: digits });
}

const clockFormat = (options: Intl.DateTimeFormatOptions) => (value: string | number): string =>
  new Intl.DateTimeFormat(language.value, { hour12: false, ...options }).format(new Date(value));

export const timeOfDay = clockFormat({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
export const dateAndTime = clockFormat({ month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" });
export const dateOnly = clockFormat({ year: "numeric", month: "2-digit", day: "2-digit" });

/** A span in the greatest unit that leaves two digits: 45 s, 12 min, 5 h, 9 d. */
export function span(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 120) return t("span.seconds", { n: whole });
  if (whole < 7200) return t("span.minutes", { n: Math.round(whole / 60) });
  return whole < 172800 ? t("span.hours", { n: Math.round(whole / 3600) }) : t("span.days", { n: Math.round(whole / 86400) });
}
