// The events that this page sends and knows how to show (`app/events.py`). It shows every
// other event with its name and its JSON.

export const MESSAGE = "chat.message";
export const TYPING = "chat.typing";
