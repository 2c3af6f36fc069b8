// Whether everything runs, who can be called, and where the rota has holes.
import { useSignal, useSignalEffect } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { ApiError, get, request, type Schemas } from "../../api/client";
import { coded, dateAndTime, number, span, t } from "../../i18n";
import { readPolicy, roleName } from "../../incidents/policy";
import { now } from "../../ticking";

type Found = {
  health: Schemas["HealthOut"];
  response: Schemas["ResponseHealth"];
  holes: Schemas["HoleOut"][];
  people: Schemas["PersonOut"][];
};
const READ_AGAIN_MS = 20_000;

/** A server that is not well answers 503, with the same document. */
async function health(): Promise<Schemas["HealthOut"]> {
  try {
    return await request("GET", "/api/health");
  } catch (error) {
    if (error instanceof ApiError && error.status === 503 && "reasons" in error.problem) return error.problem as unknown as Schemas["HealthOut"];
    throw error;
  }
}

export default function AdministrationPage() {
  const found = useSignal<Found | null>(null);
  const failed = useSignal(false);
  useEffect(readPolicy, []);
  useSignalEffect(() => {
    const read = () => Promise.all([health(), get("/api/response/health"), get("/api/response/holes"), get("/api/people")]).then(
      ([one, response, holes, people]) => {
        found.value = { health: one, response, holes: holes.holes, people: people.people };
        failed.value = false;
      },
      () => { failed.value = true; },
    );
    void read();
    const timer = setInterval(() => void read(), READ_AGAIN_MS);
    return () => clearInterval(timer);
  });
  return (
    <div class="page">
      <h1>{t("nav.administration")}</h1>
      {failed.value && <p class="notice bad" role="alert">{t("link.lost")}</p>}
      {found.value ? <Tables {...found.value} /> : <p class="empty" role="status">{t("loading")}</p>}
    </div>
  );
}

function Tables({ health: one, response, holes, people }: Found) {
  const troubles = [...one.reasons, ...response.troubles.map((trouble) => trouble.sentence)];
  return (
    <>
      <section class="card stack" aria-labelledby="running">
        <h2 id="running">{t("admin.running")}</h2>
        {troubles.length === 0 ? <p>{t("admin.well")}</p> : <ul class="stack">{troubles.map((text) => <li key={text} class="notice bad" lang="en">{text}</li>)}</ul>}
        <dl class="facts">
          <dt>{t("admin.database")}</dt><dd>{one.database.server_version ?? t("unknown")}</dd>
          <dt>{t("admin.lag")}</dt><dd>{one.ingest.lag_s == null ? t("unknown") : span(one.ingest.lag_s)}</dd>
          <dt>{t("admin.vehicles")}</dt><dd>{number(one.live.vehicles)}</dd>
          <dt>{t("admin.clients")}</dt><dd>{number(one.live.clients)}</dd>
        </dl>
        <table>
          <caption>{t("admin.jobs")}</caption>
          <thead><tr><th scope="col">{t("admin.job")}</th><th scope="col" class="num">{t("admin.last")}</th><th scope="col" class="num">{t("admin.every")}</th></tr></thead>
          <tbody>{response.jobs.map((job) => (
            <tr key={job.name}><td>{coded("job", job.name)}</td><td class="num">{t("ago", { span: span((now.value - Date.parse(job.ticked_at)) / 1000) })}</td><td class="num">{span(job.every_s)}</td></tr>
          ))}</tbody>
        </table>
      </section>
      <section class="card stack" aria-labelledby="holes">
        <h2 id="holes">{t("admin.holes")}</h2>
        {holes.length === 0 ? <p>{t("admin.no_holes")}</p> : (
          <table>
            <thead><tr><th scope="col">{t("admin.role")}</th><th scope="col">{t("fact.depot")}</th><th scope="col">{t("admin.hole")}</th><th scope="col">{t("admin.from")}</th><th scope="col">{t("admin.until")}</th></tr></thead>
            <tbody>{holes.map((hole) => (
              <tr key={`${hole.role} ${hole.depot} ${hole.starts_at} ${hole.kind}`}>
                <td>{roleName(hole.role)}</td><td>{hole.depot ?? t("admin.every_depot")}</td><td class={hole.kind === "nobody" ? "bad" : ""}>{coded("hole", hole.kind)}</td>
                <td class="when">{dateAndTime(hole.starts_at)}</td><td class="when">{dateAndTime(hole.ends_at)}</td>
              </tr>
            ))}</tbody>
          </table>
        )}
      </section>
      <section class="card stack" aria-labelledby="people">
        <h2 id="people">{t("admin.people")}</h2>
        {people.length === 0 ? <p>{t("admin.no_people")}</p> : (
          <table>
            <thead><tr><th scope="col">{t("admin.name")}</th><th scope="col">{t("admin.roles")}</th><th scope="col">{t("fact.depot")}</th><th scope="col">{t("admin.channels")}</th></tr></thead>
            <tbody>{people.map((person) => (
              <tr key={person.person_id}>
                <td>{person.name} <span class="faint">{person.person_id}</span>{!person.active && <span class="tag">{t("admin.inactive")}</span>}</td>
                <td>{person.roles.map(roleName).join(", ")}</td><td>{person.depot ?? t("admin.every_depot")}</td>
                <td class={person.channels.length ? "" : "bad"}>{person.channels.join(", ") || t("admin.no_channel")}</td>
              </tr>
            ))}</tbody>
          </table>
        )}
      </section>
    </>
  );
}
