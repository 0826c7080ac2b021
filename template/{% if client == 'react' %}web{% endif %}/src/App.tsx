import { Gate } from "./components/auth/index.js";
import type { Application } from "./events.js";
import { RealtimeProvider } from "./hooks/index.js";
import type { Client } from "./realtime/index.js";

interface Props {
  client: Client<Application>;
}

export function App({ client }: Props) {
  return (
    <RealtimeProvider client={client}>
      <button id="skip" type="button" onClick={() => document.getElementById("text")?.focus()}>
        Skip to the message field
      </button>
      <Gate />
    </RealtimeProvider>
  );
}
