export { RealtimeProvider, useClient } from "./RealtimeProvider.js";
export { useCall } from "./useCall.js";
export { useConnection } from "./useConnection.js";
export { usePresence } from "./usePresence.js";
export { useRoom, type RoomView } from "./useRoom.js";
