let server;

/** Send requests to a server of another origin than that of the page. */
export function setServer(url) {
  server = url;
}

/** The address of a path on the server. */
export function addressOf(path) {
  return new URL(path, server ?? document.baseURI);
}
