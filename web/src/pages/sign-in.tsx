// The door: signing in, and the first change of a password that somebody else gave.
import { type Signal, useSignal } from "@preact/signals";
import type { ComponentChildren, TargetedSubmitEvent } from "preact";
import { ApiError } from "../api/client";
import { t, wantedLanguage } from "../i18n";
import { changePassword, signIn } from "../session";

type Submit = (given: (name: string) => string) => Promise<void>;

function explain(error: unknown, refused: (error: ApiError) => string): string {
  if (!(error instanceof ApiError) || error.status >= 500) return t("sign_in.unreachable");
  if (error.status === 429) return t("sign_in.too_often", { n: Number(error.problem["retry_after_s"] ?? 60) });
  return refused(error);
}

function Door({ title, children, label, trouble, submit, refused }: {
  title: string; children: ComponentChildren; label: string; trouble: Signal<string>; submit: Submit; refused: (error: ApiError) => string;
}) {
  const busy = useSignal(false);
  async function onSubmit(event: TargetedSubmitEvent<HTMLFormElement>) {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    busy.value = true;
    trouble.value = "";
    try {
      await submit((name) => String(given.get(name) ?? ""));
    } catch (error) {
      trouble.value = explain(error, refused);
    } finally {
      busy.value = false;
    }
  }
  const other = wantedLanguage.value === "en" ? "zh-CN" : "en";
  return (
    <main class="sign-in">
      <form class="card stack" onSubmit={(event) => void onSubmit(event)}>
        <h1 class="row"><img src="/web/icon.svg" width="28" height="28" alt="" />{title}</h1>
        {trouble.value && <p class="notice bad" role="alert">{trouble.value}</p>}
        {children}
        <button class="primary" disabled={busy.value}>{label}</button>
        <button type="button" class="plain" lang={other} onClick={() => { wantedLanguage.value = other; }}>{t(`language.${other}`)}</button>
      </form>
    </main>
  );
}

export function SignIn() {
  const trouble = useSignal("");
  const withCode = useSignal(false);
  return (
    <Door
      title={t("sign_in.title")} label={t("sign_in.enter")} trouble={trouble}
      submit={(given) => signIn(given("user_id").trim(), given("password"), given("totp").trim())}
      refused={(error) => {
        if (error.problem["code"] !== "totp_required") return t("sign_in.refused");
        withCode.value = true;
        return t("sign_in.code_needed");
      }}
    >
      <label class="field">{t("sign_in.user")}<input name="user_id" required autocomplete="username" autocapitalize="none" spellcheck={false} autofocus /></label>
      <label class="field">{t("sign_in.password")}<input name="password" type="password" required autocomplete="current-password" /></label>
      {withCode.value && <label class="field">{t("sign_in.code")}<input name="totp" inputMode="numeric" autocomplete="one-time-code" pattern="[0-9]{6}" required autofocus /></label>}
    </Door>
  );
}

export function NewPassword() {
  const trouble = useSignal("");
  return (
    <Door
      title={t("new_password.title")} label={t("new_password.change")} trouble={trouble}
      submit={async (given) => {
        if (given("chosen") !== given("again")) trouble.value = t("new_password.differ");
        else await changePassword(given("current"), given("chosen"));
      }}
      refused={(error) => t(error.problem["field"] === "new_password" ? "new_password.weak" : "new_password.wrong")}
    >
      <p class="faint">{t("new_password.why")}</p>
      <label class="field">{t("new_password.current")}<input name="current" type="password" required autocomplete="current-password" autofocus /></label>
      <label class="field">{t("new_password.chosen")}<input name="chosen" type="password" required minLength={12} autocomplete="new-password" /></label>
      <label class="field">{t("new_password.again")}<input name="again" type="password" required autocomplete="new-password" /></label>
    </Door>
  );
}
