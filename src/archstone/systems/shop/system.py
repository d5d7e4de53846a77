"""The shop, as one reads it aloud.

archstone up shop
"""

from pathlib import Path

from archstone.resilience import SharedState
from archstone.security import Audits, DataKeys, Passwords, Tokens
from archstone.services import Option, System
from archstone.systems.shop.analytics.service import AnalyticsService
from archstone.systems.shop.carts.contract import Carts
from archstone.systems.shop.carts.service import CartsService
from archstone.systems.shop.catalog.pictures import pictures
from archstone.systems.shop.catalog.service import CatalogService
from archstone.systems.shop.checkout import CheckoutForm
from archstone.systems.shop.images.proxy import ImageProxy
from archstone.systems.shop.inventory.choreography import ChoreographedInventory
from archstone.systems.shop.notifications.mailer import Mailer
from archstone.systems.shop.notifications.service import NotificationsService
from archstone.systems.shop.notifications.site import Site
from archstone.systems.shop.orders.choreography import ChoreographedOrders
from archstone.systems.shop.orders.contract import Orders
from archstone.systems.shop.payments.choreography import ChoreographedPayments
from archstone.systems.shop.payments.guard import GuardedProvider
from archstone.systems.shop.programs.programs import Programs
from archstone.systems.shop.providers import (
    audits,
    checkout_form,
    data_keys,
    images,
    limits,
    mailer,
    pace,
    passwords,
    payment_provider,
    programs,
    safeguards,
    site,
    tokens,
    window,
)
from archstone.systems.shop.roles import ROLES
from archstone.systems.shop.shipping.choreography import ChoreographedShipping
from archstone.systems.shop.shipping.service import Pace
from archstone.systems.shop.users.contract import Sessions, UserAdmin
from archstone.systems.shop.users.safeguards import Safeguards
from archstone.systems.shop.users.service import UsersService
from archstone.systems.shop.web.front import Front
from archstone.systems.shop.window import Window

__all__ = ["PAYING", "shop"]

PAYING = (Orders.place, Orders.order, Orders.cancel, Carts.put, Carts.merge, Sessions.login, Sessions.refresh)
"""What customers do who are about to pay or have paid: served before looking around when not all can be served."""

shop = System(
    "shop",
    services=[
        UsersService,
        CatalogService,
        CartsService,
        ChoreographedInventory,
        ChoreographedPayments,
        ChoreographedShipping,
        ChoreographedOrders,
        NotificationsService,
        AnalyticsService,
    ],
    gateway=Front(urgent=PAYING, mounts={"/pictures": pictures}),
    provide={
        Passwords: passwords,
        Tokens: tokens,
        SharedState: limits,
        Safeguards: safeguards,
        Audits: audits,
        DataKeys: data_keys,
        GuardedProvider: payment_provider,
        Mailer: mailer,
        Site: site,
        Pace: pace,
        CheckoutForm: checkout_form,
        ImageProxy: images,
        Programs: programs,
        Window: window,
    },
    contracts_snapshot=Path(__file__).with_name("contracts.json"),
    promote=UserAdmin.grant,
    roles=ROLES,
    options=[
        Option(
            "mailer",
            about="Where mails go: `files`, in the data folder, or smtps://host, smtp+starttls://host, smtp://localhost.",
            default="files",
            connects=True,
        ),
        Option("payments", about="Who takes the money: `bank`, embedded, or the name of a plug-in.", default="bank"),
        Option("payments_*", about="What the plug-in of payments asks for."),
        Option(
            "checkout",
            about="Who carries new orders to their end: a `saga` of orders, or `choreography`, events alone.",
            default="saga",
            choices=("saga", "choreography"),
        ),
        Option(
            "cache",
            about="Where what is only looked at is kept near: `memory:`, or rediss://HOST.",
            default="memory:",
            connects=True,
        ),
        Option(
            "root_keys",
            about="The keys under which data keys lie: encryption.json in the data folder, or ARCHSTONE_ROOT_KEYS.",
            default="file",
            choices=("file", "environment"),
        ),
        Option("parcels", about="How fast parcels come along.", default="slow", choices=("slow", "fast")),
        Option(
            "images",
            about="Pictures of imported products: `proxy` fetches and keeps them, `drawn` shows drawings only.",
            default="proxy",
            choices=("proxy", "drawn"),
        ),
        Option(
            "public_url",
            about="Where people find the shop: links in mails, passkeys, and tokens for programs of others name it.",
            default="http://localhost:8080",
        ),
        Option(
            "admins_need_factor",
            about="Whether administrators are none until they have a second factor; `auto`: where public_url is https.",
            default="auto",
            choices=("auto", "no", "yes"),
        ),
        Option(
            "sign_up",
            about="Accounts are made `at-once`, or `by-mail` for who opens a link: nobody learns who has one.",
            default="at-once",
            choices=("at-once", "by-mail"),
        ),
        Option(
            "limits",
            about="Where tries, sign-ups, mails and requests are counted for all processes: rediss://..., sqlite:///...",
            connects=True,
        ),
        Option(
            "breached_passwords",
            about="What knows passwords from breaches: the URL of a service by its range API, or file:///LIST.",
            connects=True,
        ),
        Option("audit_keep_days", about="How long the records of audit logs are kept, days.", default="730"),
        Option("images_allow", about="Hosts that are asked for pictures though they are not public: HOST:PORT, ..."),
    ],
)
