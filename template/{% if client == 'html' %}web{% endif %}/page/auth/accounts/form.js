import { login, logout, register, whoAmI } from "../../../auth/index.js";
import * as words from "../../../chat/auth/accounts/login.js";
import { $ } from "../../dom.js";
import { mayLose } from "./unsent.js";

const owner = new words.Owner();
// The attempt to log out, while there is one.
let leaving = null;

/**
 * Resolves when somebody is logged in: already, or through the form. `ended` is the
 * server's reason for the end of a session, and undefined on a new page. It also resolves
 * when the server can't be asked who is logged in: the connection will find out.
 * `countUnsent` returns how many messages would be lost if the user logged out now.
 */
export async function enter(ended, countUnsent) {
  await leaving;
  const isNew = ended === undefined;
  let found = isNew ? await unlessUnreachable(whoAmI()) : null;
  let reason = isNew ? words.goodbye(sessionStorage) : words.whyEnded(ended);
  while (found === null) {
    await askForAccount(reason);
    found = await unlessUnreachable(whoAmI());
    reason = words.NOT_KEPT;
  }
  if (found !== undefined && !mayGoOnAs(found)) await new Promise(() => {});
  showForm(false);
  $("#logout").onclick = async () => {
    if (await mayLose(countUnsent)) leaving ??= leave();
  };
}

/**
 * Whether the page may go on for a user, who may have logged in in another tab. If it was
 * for somebody else, its content is not for this user, and a new page replaces it.
 */
export function mayGoOnAs(user) {
  if (owner.isFor(user)) return true;
  sessionStorage.clear();
  reload();
  return false;
}

function unlessUnreachable(answer) {
  return answer.catch(() => undefined);
}

function showForm(isShown) {
  $("#account").hidden = !isShown;
  $("#chat").hidden = isShown;
  $("#logout").hidden = isShown;
}

function askForAccount(reason) {
  showForm(true);
  $("#account-reason").textContent = reason;
  $("#username").value = owner.user?.name ?? "";
  setMode("login");
  $("#account-mode").onclick = () => {
    setMode($("#account-form").dataset.mode === "login" ? "register" : "login");
  };
  $("#show-password").onchange = ({ target }) => {
    $("#password").type = target.checked ? "text" : "password";
  };
  return new Promise((resolve) => {
    $("#account-form").onsubmit = async (event) => {
      event.preventDefault();
      if (await submit()) resolve();
    };
  });
}

/** Resolves to whether the user is logged in now. */
async function submit() {
  const [username, password] = [$("#username").value, $("#password").value];
  $("#account-submit").disabled = true;
  $("#account-error").textContent = "";
  try {
    if ($("#account-form").dataset.mode === "register") {
      await register(username, password);
      setMode("login");
    }
    await login(username, password);
    $("#account-form").reset();
    $("#password").type = "password";
    return true;
  } catch (error) {
    $("#account-error").textContent = words.problemOf(error);
    $("#password").focus();
    return false;
  } finally {
    $("#account-submit").disabled = false;
  }
}

function setMode(mode) {
  const { title, other, autocomplete } = words.MODES[mode];
  $("#account-form").dataset.mode = mode;
  $("#account-title").textContent = title;
  $("#account-submit").textContent = title;
  $("#account-mode").textContent = other;
  $("#account-error").textContent = "";
  $("#password").autocomplete = autocomplete;
  ($("#username").value ? $("#password") : $("#username")).focus();
}

/** Begin with a new page, which knows only that somebody has logged out. */
async function leave() {
  try {
    await logout();
  } catch (error) {
    $("#logout-error").textContent = words.logoutProblem(error);
    leaving = null;
    return;
  }
  words.sayGoodbye(sessionStorage);
  reload();
  await new Promise(() => {});
}

/** Begin with a new page, without a question about messages that this one has not sent. */
function reload() {
  window.onbeforeunload = null;
  location.reload();
}
