// The shell: who may see what, which page is shown, and what stays on the screen whatever the page.
import { effect, useSignalEffect } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { AlertBar } from "./incidents/alert-bar";
import { startAlerts } from "./incidents/alerts";
import { startIncidents } from "./incidents/store";
import { language, t } from "./i18n";
import { Header } from "./header";
import { lazy } from "./lazy";
import { connect } from "./live/channel";
import { NewPassword, SignIn } from "./pages/sign-in";
import { path } from "./router";
import { sessionState } from "./session";

const pages = {
  map: lazy(() => import("./pages/map")),
  incidents: lazy(() => import("./pages/incidents")),
  administration: lazy(() => import("./pages/administration")),
};

let started = false;
/** The live channel and the incidents are everywhere the same, and begin once, after sign-in. */
function start(): void {
  if (started) return;
  started = true;
  connect();
  startIncidents();
  startAlerts();
}

effect(() => {
  if (sessionState.value === "signed-in") start();
});

function pageOf(address: string): keyof typeof pages {
  if (address.startsWith("/incidents")) return "incidents";
  return address.startsWith("/administration") ? "administration" : "map";
}

export function App() {
  const page = pageOf(path.value);
  useSignalEffect(() => {
    document.title = t(`title.${pageOf(path.value)}`);
    void language.value;
  });
  useEffect(() => {
    // A new page begins at its top, for the eye and for a screen reader.
    document.getElementById("content")?.scrollTo(0, 0);
  }, [page]);
  if (sessionState.value === "signed-out") return <SignIn />;
  if (sessionState.value === "new-password") return <NewPassword />;
  if (sessionState.value === "asking") return null;
  const Page = pages[page];
  return (
    <>
      <div>
        <a class="skip" href="#content">{t("skip.content")}</a>
        <Header page={page} />
      </div>
      <AlertBar withIncidents={page !== "incidents"} />
      <main id="content" tabIndex={-1}><Page /></main>
    </>
  );
}
