import { Refused } from "./http.js";

const UNREACHABLE = "The server can't be reached. Try again in a moment.";
const ENDED = "Your session has ended. Log in again.";
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

/**
 * Resolves when somebody is logged in: from before, or through the form. It resolves as well when the server can't be asked who is
 * there: the connection will find out.
 */
export async function enterAs({ whoAmI, login, register, logout }, again) {
  let name = again ? null : await unlessUnreachable(whoAmI());
  let reason = again ? ENDED : "";
  while (name === null) {
    await askForAccount({ login, register }, reason);
    name = await unlessUnreachable(whoAmI());
    reason = NOT_KEPT;
  }
  if (user !== null && name !== user) {
    // What the page holds is of somebody else: begin with a new one.
    location.reload();
    await new Promise(() => {});
  }
  user = name;
  $("#account").hidden = true;
  $("#chat").hidden = false;
  $("#logout").hidden = false;
  $("#logout").onclick = () => leave(logout);
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

/** A new page forgets everything that this one held. */
async function leave(logout) {
  try {
    await logout();
    sessionStorage.clear();
    location.reload();
  } catch {
    $("#logout-error").textContent = "Could not log out: the server can't be reached.";
  }
}
