// Who is signed in: the form at the door, the first change of a password, signing out. docs/guide/access.md.
const $ = (id) => document.getElementById(id);
let csrf = null;

async function ask(method, path, body) {
  const headers = {};
  if (body) headers["Content-Type"] = "application/json";
  if (csrf) headers["X-CSRF-Token"] = csrf;
  const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  const found = answer.status === 204 ? null : await answer.json().catch(() => null);
  return { ok: answer.ok, status: answer.status, found };
}

// Calls onIn with the user each time somebody is in, with a password of their own choice.
export function door({ say, onIn }) {
  let user = null;

  function show(form) {
    for (const name of ["sign-in", "new-password"]) $(name).hidden = name !== form;
    $("door").hidden = form === null;
    for (const part of document.querySelectorAll("main, #alarms, #counts")) part.hidden = form !== null;
    $("sign-out").hidden = user === null;
    $("user").textContent = user?.display_name ?? "";
    if (form) $(form).querySelector("label:not([hidden]) input").focus();
  }

  function enter(session) {
    csrf = session.csrf_token;
    user = session.user;
    for (const field of document.querySelectorAll("#door input")) field.value = "";
    if (user.must_change_password) return show("new-password");
    show(null);
    onIn(user);
  }

  function complain(form, key, values) {
    $(form).querySelector("[role=alert]").textContent = key ? say(key, values) : "";
  }

  async function submit(form, send, explain) {
    const button = $(form).querySelector("button");
    button.disabled = true;
    complain(form, null);
    try {
      const { ok, status, found } = await send();
      if (ok) enter(found);
      else if (status === 429) complain(form, "sign_in.wait", { n: found.retry_after_s });
      else if (status >= 500) complain(form, "sign_in.unavailable");
      else explain(found);
    } catch {
      complain(form, "link.lost");
    } finally {
      button.disabled = false;
    }
  }

  $("sign-in").onsubmit = (event) => {
    event.preventDefault();
    const code = $("totp").value.trim();
    const body = { user_id: $("user-id").value.trim(), password: $("password").value };
    if (code) body.totp = code;
    submit("sign-in", () => ask("POST", "/api/session", body), (found) => {
      if (found?.code === "totp_required") {
        $("totp-label").hidden = false;
        $("totp").focus();
        return complain("sign-in", "sign_in.code_needed");
      }
      complain("sign-in", "sign_in.wrong");
    });
  };

  $("new-password").onsubmit = (event) => {
    event.preventDefault();
    if ($("chosen").value !== $("chosen-again").value) return complain("new-password", "new_password.differ");
    const body = { current_password: $("current").value, new_password: $("chosen").value };
    submit("new-password", () => ask("POST", "/api/session/password", body), (found) => {
      complain("new-password", found?.field === "new_password" ? "new_password.weak" : "new_password.wrong");
    });
  };

  $("sign-out").onclick = async () => {
    await ask("DELETE", "/api/session").catch(() => {});
    location.reload();
  };

  return {
    // Ask who is in; nobody: the form.
    async knock() {
      csrf = user = null;
      const { ok, found } = await ask("GET", "/api/session").catch(() => ({ ok: false }));
      if (ok) enter(found);
      else show("sign-in");
    },
  };
}
