import { Refused } from "./http.js";
import { mayLose } from "./unsent.js";

const UNREACHABLE = "The server can't be reached. Try again in a moment.";
const ENDED = "Your session has ended. Log in again.";
// By the reason in the close frame: this one says that it was ended, and did not expire.
const ENDED_BECAUSE = {
  "the login has ended":
    "You have been logged out: in another tab, on another device, or by the server. Log in again.",
};
const GOODBYE = "You have logged out.";
const NOT_KEPT =
  "The browser did not keep the session. It may block storage, or this address may need HTTPS.";

const $ = (selector) => document.querySelector(selector);

const MODES = {
  login: {
    title: "Log in",
    other: "No account yet? Register",
    autocomplete: "current-password",
  },
  register: {
    title: "Register",
    other: "Have an account? Log in",
    autocomplete: "new-password",
  },
};

// The user of this page, { id, name }; undefined when the server could not be asked.
let user = null;
// The attempt to log out, while there is one.
let leaving = null;

/**
 * Resolves when somebody is logged in: already, or through the form. `ended` is the
 * server's reason for the end of a session, and undefined on a new page. It also resolves
 * when the server can't be asked who is logged in: the connection will find out.
 * `countUnsent` returns how many messages would be lost if the user logged out now.
 */
export async function enterAs({ whoAmI, login, register, logout }, ended, countUnsent) {
  await leaving;
  const isNew = ended === undefined;
  let found = isNew ? await unlessUnreachable(whoAmI()) : null;
  let reason = isNew ? goodbye() : (ENDED_BECAUSE[ended] ?? ENDED);
  while (found === null) {
    await askForAccount({ login, register }, reason);
    found = await unlessUnreachable(whoAmI());
    reason = NOT_KEPT;
  }
  if (!goOnAs(found)) await new Promise(() => {});
  $("#account").hidden = true;
  $("#chat").hidden = false;
  $("#logout").hidden = false;
  $("#logout").onclick = async () => {
    if (await mayLose(countUnsent)) leaving ??= leave(logout);
  };
}

/**
 * Whether the page may go on for a user, who may have logged in in another tab. If it was
 * for somebody else, its content is not for this user, and a new page replaces it.
 */
export function goOnAs(found) {
  user ??= found;
  if (found?.id === user?.id) return true;
  sessionStorage.clear();
  reload();
  return false;
}

function unlessUnreachable(answer) {
  return answer.catch(() => undefined);
}

function askForAccount({ login, register }, reason) {
  $("#chat").hidden = true;
  $("#logout").hidden = true;
  $("#account").hidden = false;
  $("#account-reason").textContent = reason;
  $("#username").value = user?.name ?? "";
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
        resolve();
      } catch (error) {
        $("#account-error").textContent = error instanceof Refused ? error.message : UNREACHABLE;
        $("#password").focus();
      } finally {
        $("#account-submit").disabled = false;
      }
    };
  });
}

function setMode(mode) {
  const { title, other, autocomplete } = MODES[mode];
  $("#account-form").dataset.mode = mode;
  $("#account-title").textContent = title;
  $("#account-submit").textContent = title;
  $("#account-mode").textContent = other;
  $("#account-error").textContent = "";
  $("#password").autocomplete = autocomplete;
  ($("#username").value ? $("#password") : $("#username")).focus();
}

/** Begin with a new page, which knows only that somebody has logged out. */
async function leave(logout) {
  try {
    await logout();
  } catch (error) {
    const words = error instanceof Refused ? error.message : UNREACHABLE;
    $("#logout-error").textContent = `Could not log out. ${words}`;
    leaving = null;
    return;
  }
  sessionStorage.clear();
  sessionStorage.setItem("goodbye", "");
  reload();
  await new Promise(() => {});
}

/** Begin with a new page, without a question about messages that this one has not sent. */
function reload() {
  window.onbeforeunload = null;
  location.reload();
}

/** The sentence for somebody who has just logged out. */
function goodbye() {
  const hasLeft = sessionStorage.getItem("goodbye") !== null;
  sessionStorage.removeItem("goodbye");
  return hasLeft ? GOODBYE : "";
}
