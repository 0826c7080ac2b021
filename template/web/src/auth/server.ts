let server: string | URL | undefined;

/** Send requests to a server of another origin than that of the page. */
export function setServer(url: string | URL): void {
  server = url;
}

/** The address of a path on the server. */
export function addressOf(path: string): URL {
  return new URL(path, server ?? document.baseURI);
}
