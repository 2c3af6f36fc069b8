// One incident as the page works on it: what is known, how the response stands, and doing something about it.
import { signal } from "@preact/signals";
import { ApiError, get, request, type Schemas } from "../../api/client";
import { t } from "../../i18n";
import { incidents, keep } from "../../incidents/store";
import { actor } from "../../session";

export type Detail = Schemas["IncidentDetail"];
export type Response = Schemas["ResponseOut"];

const READ_AGAIN_MS = 10_000;

export class OpenIncident {
  readonly detail = signal<Detail | null>(null);
  readonly response = signal<Response | null>(null);
  readonly trouble = signal("");
  readonly busy = signal(false);
  private timer = 0;
  private left = false;

  constructor(readonly id: number) {}

  start(): () => void {
    void this.read();
    this.timer = window.setInterval(() => void this.read(), READ_AGAIN_MS);
    // The live channel says that it changed: look at once.
    const stop = incidents.subscribe((all) => {
      const told = all.get(this.id);
      const held = this.detail.peek();
      if (told && held && told.revision > held.revision) void this.read();
    });
    return () => {
      this.left = true;
      clearInterval(this.timer);
      stop();
    };
  }

  async read(): Promise<void> {
    try {
      const [detail, response] = await Promise.all([
        get("/api/incidents/{incident_id}", { incident_id: this.id }),
        get("/api/incidents/{incident_id}/response", { incident_id: this.id }),
      ]);
      if (this.left) return;
      const held = this.detail.peek();
      if (!held || detail.revision >= held.revision) this.detail.value = detail;
      this.response.value = response;
    } catch (error) {
      if (!this.left && !this.detail.peek()) this.trouble.value = error instanceof ApiError ? error.detail : t("link.lost");
    }
  }

  /** Do something by the address below the incident. Returns whether it was done. */
  async act(what: string, values: Record<string, unknown> = {}): Promise<boolean> {
    const held = this.detail.peek();
    if (!held || this.busy.peek()) return false;
    this.busy.value = true;
    this.trouble.value = "";
    try {
      const after = await request<Detail>("POST", `/api/incidents/${this.id}/${what}`, { by: actor(), revision: held.revision, ...values });
      this.detail.value = after;
      keep(after);
      await this.read();
      return true;
    } catch (error) {
      const problem = error instanceof ApiError ? error : null;
      const missing = problem?.problem["missing"];
      this.trouble.value = !problem ? t("link.lost")
        : problem.problem["field"] === "revision" ? t("act.changed_meanwhile")
        : Array.isArray(missing) && missing.length ? t("act.missing", { what: missing.map((one) => this.missingName(String(one))).join(", ") })
        : problem.detail;
      await this.read();
      return false;
    } finally {
      this.busy.value = false;
    }
  }

  private missingName(code: string): string {
    const item = this.response.peek()?.checklist.find((one) => one.item === code || code.endsWith(`:${one.item}`) || code.endsWith(` ${one.item}`));
    if (!item) return code.replaceAll("_", " ");
    return item.text[document.documentElement.lang] ?? item.text["en"] ?? code;
  }
}
