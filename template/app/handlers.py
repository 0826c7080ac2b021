"""What the application does when a client calls it, or before a client's event goes out.

This file is yours. A handler is an async function:

    @handles(PlaceOrder)                     # the client waits for the result
    async def place_order(order: PlaceOrder, call: Call) -> OrderPlaced:
        if order.amount > 100:
            raise Refused("at most 100 at a time")
        return OrderPlaced(number=await next_number())

    @before(ChatMessage)                     # store it, or refuse it
    async def keep(message: ChatMessage, publication: Pending) -> None:
        await store(publication.id, publication.room, publication.user.id, message.text)

`handles`, `before`, `Call`, `Pending` and `Refused` are imported from `app.realtime`, and
events from `app.events`.
"""
