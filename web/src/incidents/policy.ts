// Names that the response policy gives: roles and obligations, in both languages.
import { signal } from "@preact/signals";
import { get } from "../api/client";
import { inLanguage } from "../i18n";

type Texts = Record<string, string>;
type Policy = { roles: { role: string; name: Texts }[]; obligations: { kind: string; text: Texts }[] };

const policy = signal<Policy>({ roles: [], obligations: [] });
let asked = false;

export function readPolicy(): void {
  if (asked) return;
  asked = true;
  get("/api/response/policy").then((found) => { policy.value = found.policy as unknown as Policy; }, () => { asked = false; });
}

const plain = (code: string): string => code.replaceAll("_", " ");

export function roleName(role: string): string {
  const found = policy.value.roles.find((one) => one.role === role);
  return found ? inLanguage(found.name) : plain(role);
}

export function obligationText(kind: string): string | null {
  const found = policy.value.obligations.find((one) => one.kind === kind);
  return found ? inLanguage(found.text) : null;
}
