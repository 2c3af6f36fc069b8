import { useSignal } from "@preact/signals";
import type { TargetedSubmitEvent } from "preact";
import { ApiError } from "../api/client";
import { t, wantedLanguage } from "../i18n";
import { signIn } from "../session";

export function SignIn() {
  const trouble = useSignal("");
  const busy = useSignal(false);
  async function submit(event: TargetedSubmitEvent<HTMLFormElement>) {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    const text = (name: string) => String(given.get(name) ?? "").trim();
    busy.value = true;
    trouble.value = "";
    try {
      await signIn(text("user_id"), String(given.get("password") ?? ""), text("totp"));
    } catch (error) {
      trouble.value = error instanceof ApiError && error.status < 500
        ? t(error.status === 429 ? "sign_in.too_often" : "sign_in.refused") : t("sign_in.unreachable");
    } finally {
      busy.value = false;
    }
  }
  const other = wantedLanguage.value === "en" ? "zh-CN" : "en";
  return (
    <main class="sign-in">
      <form class="card stack" onSubmit={(event) => void submit(event)}>
        <h1 class="row"><img src="/web/icon.svg" width="28" height="28" alt="" />{t("sign_in.title")}</h1>
        {trouble.value && <p class="notice bad" role="alert">{trouble.value}</p>}
        <label class="field">{t("sign_in.user")}<input name="user_id" required autocomplete="username" autofocus /></label>
        <label class="field">{t("sign_in.password")}<input name="password" type="password" required autocomplete="current-password" /></label>
        <label class="field">{t("sign_in.code")}<input name="totp" inputMode="numeric" autocomplete="one-time-code" pattern="[0-9 ]*" /></label>
        <button class="primary" disabled={busy.value}>{t("sign_in.enter")}</button>
        <button type="button" class="plain" lang={other} onClick={() => { wantedLanguage.value = other; }}>{t(`language.${other}`)}</button>
      </form>
    </main>
  );
}
