import type { TargetedEvent } from "preact";
import { soundOn, toggleSound, notificationsOn, toggleNotifications } from "./incidents/alerts";
import { unanswered } from "./incidents/store";
import { type Key, type Language, t, wantedLanguage } from "./i18n";
import { link } from "./live/channel";
import { signOut, user } from "./session";
import { type Theme, theme } from "./theme";

const PAGES = { map: "/", incidents: "/incidents", administration: "/administration" } as const;
export type PageName = keyof typeof PAGES;

const set = <T extends string>(target: { value: T }) => (event: TargetedEvent<HTMLSelectElement>) => {
  target.value = event.currentTarget.value as T;
};

export function Header({ page }: { page: PageName }) {
  const waiting = unanswered.value.length;
  return (
    <header class="top">
      <a class="brand" href="/"><img src="/web/icon.svg" width="26" height="26" alt="" />{t("brand")}</a>
      <nav aria-label={t("nav")}>
        {(Object.keys(PAGES) as PageName[]).map((name) => (
          <a key={name} href={PAGES[name]} aria-current={name === page ? "page" : undefined}>
            {t(`nav.${name}`)}
            {name === "incidents" && waiting > 0 && <span class="count num" aria-label={t("nav.unanswered", { n: waiting })}>{waiting}</span>}
          </a>
        ))}
      </nav>
      <p class="link" id="link" role="status" data-state={link.value}>{t(`link.${link.value}` as Key)}</p>
      <span class="push" />
      <button aria-pressed={soundOn.value} onClick={toggleSound}>{t(soundOn.value ? "sound.on" : "sound.off")}</button>
      <button aria-pressed={notificationsOn.value} onClick={() => void toggleNotifications()}>
        {t(notificationsOn.value ? "notifications.on" : "notifications.off")}
      </button>
      <label><span class="hidden">{t("theme")}</span>
        <select id="theme" value={theme.value} onChange={set<Theme>(theme)}>
          <option value="system">{t("theme.system")}</option>
          <option value="light">{t("theme.light")}</option>
          <option value="dark">{t("theme.dark")}</option>
        </select>
      </label>
      <label><span class="hidden">{t("language")}</span>
        <select id="language" value={wantedLanguage.value} onChange={set<Language>(wantedLanguage)}>
          <option value="en" lang="en">{t("language.en")}</option>
          <option value="zh-CN" lang="zh-CN">{t("language.zh-CN")}</option>
        </select>
      </label>
      <button onClick={() => void signOut()} title={user.value?.display_name}>{t("sign_out")}</button>
    </header>
  );
}
