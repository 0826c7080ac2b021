import { Refused } from "./http.js";

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

// Who the page is for; undefined when the server could not be asked.
let user = null;
// The attempt to log out, while one is under way.
let leaving = null;

/**
 * Resolves when somebody is logged in: from before, or through the form. `ended` is the
 * server's reason for the end of a session, and undefined on a new page. It resolves as
 * well when the server can't be asked who is there: the connection will find out.
 */
export async function enterAs({ whoAmI, login, register, logout }, ended) {
  await leaving;
  const isNew = ended === undefined;
  let name = isNew ? await unlessUnreachable(whoAmI()) : null;
  let reason = isNew ? goodbye() : (ENDED_BECAUSE[ended] ?? ENDED);
  while (name === null) {
    await askForAccount({ login, register }, reason);
    name = await unlessUnreachable(whoAmI());
    reason = NOT_KEPT;
  }
  if (!goOnAs(name)) await new Promise(() => {});
  $("#account").hidden = true;
  $("#chat").hidden = false;
  $("#logout").hidden = false;
  $("#logout").onclick = () => {
    leaving ??= leave(logout);
  };
}

/**
 * Whether the page may go on for `name`, who may have logged in in another tab. What it
 * holds is not for anybody else: then this begins with a new one.
 */
export function goOnAs(name) {
  user ??= name;
  if (name === user) return true;
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
  $("#username").value = user ?? "";
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

/** A new page forgets everything that this one held, but what to say. */
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

/** Begin with a new page, and have nobody asked about what waits to be sent on this one. */
function reload() {
  window.onbeforeunload = null;
  location.reload();
}

/** What to say to somebody who has just logged out. */
function goodbye() {
  const hasLeft = sessionStorage.getItem("goodbye") !== null;
  sessionStorage.removeItem("goodbye");
  return hasLeft ? GOODBYE : "";
}
