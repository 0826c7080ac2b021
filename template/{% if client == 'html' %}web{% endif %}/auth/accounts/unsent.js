// How often to count again while the question is there (milliseconds).
const COUNT = 200;

const dialog = document.querySelector("#unsent");
const words = document.querySelector("#unsent-text");

/**
 * Resolves to whether to log out. If messages would be lost, the user decides. They may
 * still arrive while the question is there.
 */
export function mayLose(countUnsent) {
  if (countUnsent() === 0) return true;
  const count = () => {
    words.textContent = consequence(countUnsent());
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

function consequence(unsent) {
  if (unsent === 0) return "The server has all of your messages now.";
  if (unsent === 1) return "The server has not confirmed 1 message. It would be lost.";
  return `The server has not confirmed ${unsent} messages. They would be lost.`;
}
