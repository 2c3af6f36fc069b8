// A component whose code is loaded when it is first shown.
import { signal } from "@preact/signals";
import type { ComponentType } from "preact";
import { useEffect } from "preact/hooks";
import { t } from "./i18n";

export function lazy(load: () => Promise<{ default: ComponentType }>): ComponentType {
  const loaded = signal<ComponentType | null>(null);
  const failed = signal(false);
  const ask = () => {
    failed.value = false;
    load().then((module) => { loaded.value = module.default; }, () => { failed.value = true; });
  };
  return function Lazy() {
    useEffect(() => { if (!loaded.value) ask(); }, []);
    if (failed.value) return (
      <div class="page"><p class="notice bad" role="alert">{t("page.failed")} <button onClick={ask}>{t("again")}</button></p></div>
    );
    const Loaded = loaded.value;
    return Loaded ? <Loaded /> : <p class="empty" role="status">{t("loading")}</p>;
  };
}
