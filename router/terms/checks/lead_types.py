"""`lead_types/*.toml`: the schema and sale rules of one kind of lead."""

from router.model.times import format_duration
from router.terms.checks.fields import judge_key_sets, judge_schema
from router.terms.checks.page import Page
from router.terms.checks.values import judge_at_least, judge_id, judge_positive, shown
from router.terms.schema import LeadType, Sell


def judge_lead_type(page: Page, lead_type: LeadType) -> None:
    """Everything of a lead type that can be judged without the contracts that sell it."""
    judge_id(page, "id", lead_type.id)
    judge_positive(page, "deadline", lead_type.deadline, "no lead could be sold in it")
    judge_positive(page, "max_age", lead_type.max_age, "every lead would be too old")
    judge_schema(page, lead_type.fields)
    if lead_type.dedup is not None:
        judge_key_sets(page, "dedup.keys", lead_type.dedup.keys, lead_type)
        judge_positive(page, "dedup.window", lead_type.dedup.window, "nothing would be a duplicate")
    if lead_type.queue is not None:
        judge_positive(page, "queue.hold_max", lead_type.queue.hold_max, "no lead could wait")
        if lead_type.max_age is not None and lead_type.queue.hold_max > lead_type.max_age:
            message = (
                f"a lead expires at its max_age of {format_duration(lead_type.max_age)}, before it has waited so long"
            )
            page.warn("queue.hold_max", message, "Shorten it, or let leads grow older")
    _judge_sell(page.at("sell"), lead_type.sell)
    _judge_tiers(page, lead_type)


def _judge_sell(page: Page, sell: Sell) -> None:
    judge_at_least(page, "max_copies", sell.max_copies, 1)
    judge_at_least(page, "parallel", sell.parallel, 1)
    if sell.mode == "exclusive" and sell.max_copies > 1:
        mend = 'Write mode = "shared" or "best", or take max_copies out'
        page.warn("max_copies", "an exclusive lead goes to one buyer, so this changes nothing", mend)
    if sell.mode == "shared" and sell.max_copies == 1:
        page.warn("max_copies", "shared leads are sold once only", "Write max_copies = 3 or so")


def _judge_tiers(page: Page, lead_type: LeadType) -> None:
    names: list[str] = []
    for index, tier in enumerate(lead_type.tiers):
        key = f"tiers[{index}]"
        judge_id(page, f"{key}.name", tier.name)
        if tier.name in names:
            page.error(f"{key}.name", f"there are two tiers named {shown(tier.name)}", "Rename one of them")
        if tier.secondary == tier.method:
            page.warn(f"{key}.secondary", "it is the tier's method already, so it changes nothing", "Take it out")
        names.append(tier.name)
