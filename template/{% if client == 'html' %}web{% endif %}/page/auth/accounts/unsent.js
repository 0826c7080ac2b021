import { consequence } from "../../../chat/auth/accounts/login.js";
import { $ } from "../../dom.js";

// How often to count again while the question is there (milliseconds).
const COUNT = 200;

/**
 * Resolves to whether to log out. If messages would be lost, the user decides. They may
 * still arrive while the question is there.
 */
export function mayLose(countUnsent) {
  if (countUnsent() === 0) return true;
  const dialog = $("#unsent");
  const count = () => {
    $("#unsent-text").textContent = consequence(countUnsent());
  };
  count();
  const counting = setInterval(count, COUNT);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => {
      clearInterval(counting);
      resolve(dialog.returnValue === "leave");
    };
  });
}
