// Who works here.
import { effect, signal } from "@preact/signals";
import { csrfToken, request, signedOut } from "./api/client";

export type User = {
  user_id: string;
  display_name: string;
  roles: string[];
  depot_ids: string[] | null;
  language: string;
  must_change_password: boolean;
};
type SessionAnswer = { user: User; csrf_token: string | null };
export type SessionState = "asking" | "signed-in" | "signed-out" | "new-password";

export const sessionState = signal<SessionState>("asking");
export const user = signal<User | null>(null);

function enter(answer: SessionAnswer): void {
  csrfToken.value = answer.csrf_token ?? "";
  user.value = answer.user;
  sessionState.value = answer.user.must_change_password ? "new-password" : "signed-in";
}

function leave(): void {
  csrfToken.value = "";
  user.value = null;
  sessionState.value = "signed-out";
}

export async function resumeSession(): Promise<void> {
  try {
    enter(await request<SessionAnswer>("GET", "/api/session"));
  } catch {
    leave();
  }
}

export async function signIn(userId: string, password: string, totp: string): Promise<void> {
  enter(await request<SessionAnswer>("POST", "/api/session", { user_id: userId, password, ...(totp ? { totp } : {}) }));
}

/** A password that somebody else gave must be changed before anything else is answered. */
export async function changePassword(current: string, chosen: string): Promise<void> {
  enter(await request<SessionAnswer>("POST", "/api/session/password", { current_password: current, new_password: chosen }));
}

export async function signOut(): Promise<void> {
  await request("DELETE", "/api/session").catch(() => undefined);
  leave();
}

effect(() => {
  if (signedOut.value > 0 && sessionState.peek() === "signed-in") leave();
});

/** Who an action is said to be by. */
export const actor = (): string => user.value?.user_id ?? "";
